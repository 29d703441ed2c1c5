// A call of two: who was in the room first calls, the other answers, and a room's socket carries what they say.
import { $, bestNode, credential, look, show, testStream } from '/kit.js';

let call;

const say = (text) => {
  $('state').textContent = text;
};

async function pictures() {
  if ($('camera').checked) {
    if (!navigator.mediaDevices) throw new Error('browsers give the camera to pages by HTTPS or of localhost only');
    return navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  }
  return testStream();
}

// A connection of this call; the other end's description and candidates come through `hear`.
async function connect(stream, send) {
  const direct = $('direct').checked;
  const server = bestNode(await credential(), direct ? ['udp', 'tcp'] : ['udp']);
  const pc = new RTCPeerConnection({ iceServers: [server], iceTransportPolicy: direct ? 'all' : 'relay' });
  stream.getTracks().forEach((track) => pc.addTrack(track, stream));
  pc.ontrack = ({ streams: [theirs] }) => {
    $('theirs').srcObject = theirs;
  };
  pc.onicecandidate = ({ candidate }) => candidate && send({ candidate });
  pc.onicecandidateerror = (e) => console.warn('candidate', e.errorCode, e.errorText, e.url);
  pc.onconnectionstatechange = () => {
    const words = { connected: 'in the call', failed: 'no way to the other end was found', disconnected: 'the other end is silent' };
    if (words[pc.connectionState]) say(words[pc.connectionState]);
  };
  return pc;
}

class Call {
  constructor(room, stream) {
    this.stream = stream;
    const url = new URL(`/rooms/${encodeURIComponent(room)}`, location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    this.socket = new WebSocket(url);
    this.send = (message) => this.socket.readyState === WebSocket.OPEN && this.socket.send(JSON.stringify(message));
    // One message after another: a candidate must find its description.
    let turn = Promise.resolve();
    this.socket.onmessage = ({ data }) => {
      turn = turn.then(() => this.hear(JSON.parse(data))).catch((error) => say(`failed: ${error.message}`));
    };
    this.socket.onopen = () => say(`waiting for somebody else in ${room}`);
    this.socket.onclose = () => call === this && leave(this.refused ?? 'the signalling ended');
    this.timer = setInterval(() => this.look(), 1000);
  }

  async hear(message) {
    if (message.event === 'refused') {
      this.refused = message.reason;
    } else if (message.event === 'joined') {
      await this.begin();
      await this.pc.setLocalDescription();
      this.send({ description: this.pc.localDescription });
    } else if (message.event === 'left') {
      this.hangUp();
      say('the other one left; waiting for the next');
    } else if (message.description) {
      if (message.description.type === 'offer') await this.begin();
      await this.pc.setRemoteDescription(message.description);
      if (message.description.type === 'offer') {
        await this.pc.setLocalDescription();
        this.send({ description: this.pc.localDescription });
      }
    } else if (message.candidate) {
      await this.pc?.addIceCandidate(message.candidate);
    }
  }

  async begin() {
    this.hangUp();
    say('calling');
    const pc = await connect(this.stream, this.send);
    this.pc = pc;
  }

  async look() {
    if (!this.pc) return;
    const now = await look(this.pc);
    show(now, this.before);
    this.before = now;
  }

  hangUp() {
    this.pc?.close();
    [this.pc, this.before] = [undefined, undefined];
    $('theirs').srcObject = null;
  }

  end() {
    clearInterval(this.timer);
    this.hangUp();
    this.socket.close();
    if (this.stream.end) this.stream.end();
    else this.stream.getTracks().forEach((track) => track.stop());
  }
}

function inRoom(is) {
  for (const id of ['room', 'camera', 'direct', 'enter']) $(id).disabled = is;
  $('leave').disabled = !is;
}

function leave(text) {
  const ended = call;
  call = undefined;
  ended?.end();
  $('mine').srcObject = null;
  inRoom(false);
  say(text);
}

$('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  inRoom(true);
  try {
    const stream = await pictures();
    $('mine').srcObject = stream;
    history.replaceState(null, '', `?room=${encodeURIComponent($('room').value)}`);
    call = new Call($('room').value, stream);
  } catch (error) {
    leave(`failed: ${error.message}`);
  }
});
$('leave').addEventListener('click', () => leave('left'));
window.addEventListener('pagehide', () => call?.end());
$('room').value = new URLSearchParams(location.search).get('room') ?? '';
