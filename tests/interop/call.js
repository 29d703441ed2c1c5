// Two peer connections of one page call each other through relays only, with video both ways.
// Answers once both decoded enough frames, after the video was stopped and the bytes stand still; or at
// once, where the call is to go on.
const [iceServers, framesWanted, goesOn, done] = arguments;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Calls `look` until it answers something, or half a minute is over.
async function eventually(look) {
  const end = performance.now() + 30000;
  while (performance.now() < end) {
    const found = await look();
    if (found) return found;
    await pause(100);
  }
  return undefined;
}

function video() {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [320, 240];
  const context = canvas.getContext('2d');
  let tick = 0;
  setInterval(() => {
    context.fillStyle = `hsl(${(tick += 7) % 360} 80% 50%)`;
    context.fillRect((tick * 3) % 320, (tick * 5) % 240, 90, 70);
  }, 30);
  return canvas.captureStream(30);
}

async function stats(pc) {
  const all = [...(await pc.getStats()).values()];
  const transport = all.find((s) => s.type === 'transport');
  const pair = all.find((s) => s.id === transport?.selectedCandidatePairId);
  const candidate = (id) => all.find((s) => s.id === id);
  const [local, remote] = [candidate(pair?.localCandidateId), candidate(pair?.remoteCandidateId)];
  const inbound = all.find((s) => s.type === 'inbound-rtp' && s.kind === 'video');
  return {
    frames: inbound?.framesDecoded ?? 0,
    local: local?.candidateType,
    remote: remote?.candidateType,
    relayProtocol: local?.relayProtocol,
    sent: transport?.bytesSent ?? 0,
    received: transport?.bytesReceived ?? 0,
  };
}

async function call() {
  const config = { iceServers, iceTransportPolicy: 'relay' };
  const [a, b] = [new RTCPeerConnection(config), new RTCPeerConnection(config)];
  window.call = [a, b];
  window.states = [];
  const errors = [];
  for (const [pc, other] of [[a, b], [b, a]]) {
    pc.onicecandidate = ({ candidate }) => candidate && other.addIceCandidate(candidate);
    pc.onicecandidateerror = (e) => errors.push(`${e.errorCode} ${e.errorText} ${e.url}`);
    pc.oniceconnectionstatechange = () => window.states.push(pc.iceConnectionState);
    const stream = video();
    stream.getTracks().forEach((track) => pc.addTrack(track, stream));
  }
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription);
  const both = () => Promise.all([stats(a), stats(b)]);
  [window.look, window.eventually] = [both, eventually];
  await eventually(async () => (await both()).every((one) => one.frames > framesWanted));
  if (goesOn) return { errors, sides: await both() };
  for (const pc of [a, b]) pc.getSenders().forEach((sender) => sender.track.stop());
  return { errors, sides: await both() };
}

call().then(done, (error) => done({ errors: [String(error)], sides: [] }));
