// Gathers with a fresh credential, says what came, then calls itself through relays alone.
import { $, bestNode, credential, look, pause, row, show, testStream, verdict } from '/kit.js';

// Longer than a client repeats a request that nobody answers would be a long wait to look at.
const GATHERING_MS = 15000;
const CALL_MS = 10000;
const CONNECT_MS = 15000;
const FRAMES = 30;

const say = (text) => {
  $('state').textContent = text;
};

async function gather() {
  // One credential each: a browser with several addresses takes a session for each of them.
  const minted = await Promise.all([credential(), credential()]);
  const servers = ['udp', 'tcp'].map((transport, i) => bestNode(minted[i], [transport]));
  const of = (read) => minted.map(read).join(', ');
  $('username').textContent = of((one) => one.username);
  const until = new Date(Date.now() + minted[0].ttl_secs * 1000);
  $('until').textContent = `${until.toLocaleTimeString()} (${minted[0].ttl_secs} s), node ${of((one) => one.nodes[0])}`;
  const urls = servers.flatMap((server) => server.urls);
  $('urls').textContent = urls.join('  ');
  // Asked for by STUN alone, too: a relay's answer names the address, and browsers ask each server once.
  const stun = urls.filter((url) => url.endsWith('udp')).map((url) => url.replace('turn:', 'stun:').split('?')[0]);
  const pc = new RTCPeerConnection({ iceServers: [{ urls: stun }, ...servers] });
  const [began, found] = [performance.now(), []];
  const ms = () => Math.round(performance.now() - began);
  pc.onicecandidate = ({ candidate: one }) => {
    if (!one?.candidate) return;
    found.push(one);
    const related = one.relatedAddress ? `${one.relatedAddress}:${one.relatedPort}` : '';
    const protocol = one.relayProtocol ? `${one.protocol} by ${one.relayProtocol}` : one.protocol;
    row('candidates', [ms(), one.type, protocol, `${one.address}:${one.port}`, related, one.url]);
  };
  pc.onicecandidateerror = (e) => row('errors', [ms(), e.errorCode, e.errorText, e.url]);
  const complete = new Promise((resolve) => {
    pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && resolve(true);
  });
  pc.createDataChannel('gather');
  await pc.setLocalDescription();
  const ended = await Promise.race([complete, pause(GATHERING_MS).then(() => false)]);
  pc.close();
  const [srflx, relay] = ['srflx', 'relay'].map((type) => found.filter((one) => one.type === type));
  const addresses = (list) => [...new Set(list.map((one) => `${one.address}:${one.port}`))].join(', ');
  const none = ended ? 'none came' : `none came in ${GATHERING_MS / 1000} s`;
  const same = `${none}; without address translation on the way there is none`;
  verdict('srflx', srflx.length > 0, srflx.length ? addresses(srflx) : same);
  verdict('relay', relay.length > 0, relay.length ? addresses(relay) : `${none}, see the errors`);
  return relay.length > 0;
}

async function call() {
  const pcs = [];
  for (const _ of [0, 1]) {
    const server = bestNode(await credential(), ['udp']);
    pcs.push(new RTCPeerConnection({ iceServers: [server], iceTransportPolicy: 'relay' }));
  }
  const [a, b] = pcs;
  const began = performance.now();
  for (const [pc, other] of [[a, b], [b, a]]) {
    pc.onicecandidate = ({ candidate: one }) => one && other.addIceCandidate(one).catch(() => {});
    pc.onicecandidateerror = (e) =>
      row('errors', [Math.round(performance.now() - began), e.errorCode, e.errorText, e.url]);
  }
  const stream = testStream();
  $('sent').srcObject = stream;
  stream.getTracks().forEach((track) => a.addTrack(track, stream));
  b.ontrack = ({ streams: [received] }) => {
    $('received').srcObject = received;
  };
  try {
    await a.setLocalDescription();
    await b.setRemoteDescription(a.localDescription);
    await b.setLocalDescription();
    await a.setRemoteDescription(b.localDescription);
    let [before, now] = [undefined, await look(b)];
    const frames = (count) => now.frames >= count;
    const left = () => performance.now() - began;
    while (left() < (frames(1) ? CALL_MS : CONNECT_MS)) {
      await pause(500);
      [before, now] = [now, await look(b)];
      show(now, before);
    }
    const relayed = now.local?.candidateType === 'relay' && now.remote?.candidateType === 'relay';
    const good = relayed && frames(FRAMES);
    verdict('call', good, good ? `${now.frames} frames, ${now.lost} packets lost` : `${now.frames} frames came`);
    return good;
  } finally {
    stream.end();
    pcs.forEach((pc) => pc.close());
  }
}

async function run() {
  $('start').disabled = true;
  for (const id of ['candidates', 'errors']) $(id).replaceChildren();
  for (const id of ['srflx', 'relay', 'call', 'way', 'video', 'rtt']) {
    $(id).className = '';
    $(id).textContent = '-';
  }
  try {
    say('gathering');
    const relayed = await gather();
    if (relayed) {
      say('calling through relays');
      await call();
    } else {
      verdict('call', false, 'without a relay there is none');
    }
    say('done');
  } catch (error) {
    say(`failed: ${error.message}`);
  } finally {
    $('start').disabled = false;
  }
}

$('start').addEventListener('click', run);
