// What both pages need: a credential, pictures without a camera, and what a connection says of itself.

export const $ = (id) => document.getElementById(id);
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// A credential of its own for each connection: two sessions are all it is good for.
export async function credential() {
  const answer = await fetch('/credentials', { method: 'POST' });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error);
  return body;
}

// The best node's URLs: several nodes would be several sessions.
export function bestNode({ iceServers: [best] }, transports = ['udp', 'tcp']) {
  const spoken = (url) => transports.some((transport) => url.endsWith(`transport=${transport}`));
  return { ...best, urls: best.urls.filter((url) => url.startsWith('turn:') && spoken(url)) };
}

// A moving picture and a quiet tone, for machines without a camera.
export function testStream() {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [640, 480];
  const context = canvas.getContext('2d');
  let tick = 0;
  const timer = setInterval(() => {
    tick += 1;
    context.fillStyle = `hsl(${(tick * 2) % 360} 60% 45%)`;
    context.fillRect(0, 0, 640, 480);
    context.fillStyle = '#fff';
    context.font = '48px monospace';
    context.fillText(new Date().toISOString().slice(11, 23), 130, 250);
    context.fillRect((tick * 5) % 640, 300, 60, 60);
  }, 33);
  const stream = canvas.captureStream(30);
  stream.getVideoTracks()[0].addEventListener('ended', () => clearInterval(timer));
  stream.end = () => {
    clearInterval(timer);
    stream.getTracks().forEach((track) => track.stop());
  };
  return stream;
}

// What the connection says: the way it takes, what it received, and how long a round trip is.
export async function look(pc) {
  const all = [...(await pc.getStats()).values()];
  const transport = all.find((one) => one.type === 'transport');
  const pair = all.find((one) => one.id === transport?.selectedCandidatePairId);
  const candidate = (id) => all.find((one) => one.id === id);
  const video = all.find((one) => one.type === 'inbound-rtp' && one.kind === 'video');
  return {
    at: performance.now(),
    local: candidate(pair?.localCandidateId),
    remote: candidate(pair?.remoteCandidateId),
    rttMs: pair?.currentRoundTripTime === undefined ? undefined : pair.currentRoundTripTime * 1000,
    frames: video?.framesDecoded ?? 0,
    bytes: video?.bytesReceived ?? 0,
    lost: video?.packetsLost ?? 0,
    width: video?.frameWidth,
    height: video?.frameHeight,
  };
}

// Writes a connection's figures into the page, with rates since the last look.
export function show(now, before) {
  const name = (one) => {
    if (!one) return '?';
    const by = one.candidateType === 'relay' && one.relayProtocol ? ` by ${one.relayProtocol}` : '';
    return `${one.candidateType}${by} ${one.address ?? ''}:${one.port ?? ''}`;
  };
  $('way').textContent = now.local ? `${name(now.local)} to ${name(now.remote)}` : '-';
  const seconds = before ? (now.at - before.at) / 1000 : 0;
  const rate = (key) => (seconds > 0 ? (now[key] - before[key]) / seconds : 0);
  const kbits = Math.round((rate('bytes') * 8) / 1000);
  const size = now.width ? `${now.width}x${now.height}, ` : '';
  $('video').textContent =
    `${size}${now.frames} frames, ${Math.round(rate('frames'))} a second, ${kbits} kbit/s, ${now.lost} packets lost`;
  $('rtt').textContent = now.rttMs === undefined ? '-' : `${now.rttMs.toFixed(1)} ms`;
}

export function row(table, cells) {
  const tr = document.createElement('tr');
  for (const cell of cells) {
    const td = document.createElement('td');
    td.textContent = cell ?? '';
    tr.append(td);
  }
  $(table).append(tr);
}

export function verdict(id, good, text) {
  $(id).className = good ? 'yes' : 'no';
  $(id).textContent = `${good ? 'yes' : 'no'}${text ? `: ${text}` : ''}`;
}
