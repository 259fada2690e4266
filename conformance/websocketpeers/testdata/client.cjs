// Cases that the npm package ws runs as a client, with node.
//
// Usage: client.cjs URL, where URL is the server's as ws:// or wss://. Every
// case prints a line of JSON, {"case": ..., "error": ...}, and at the end comes how
// many there were, {"done": ...}. NODE_PATH leads to ws, and NODE_EXTRA_CA_CERTS
// has the certificate to trust.
'use strict';

const WebSocket = require('ws');

const URL = process.argv[2];
const SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20];
const BOUND = 20000; // milliseconds for a case

const cases = [];
const open = new Set(); // the connections of the case that runs

function test(name, run) {
  cases.push({ name, run });
}

// A Peer is a connection whose messages, pongs and end are waited for.
class Peer {
  constructor(path, options, protocols) {
    this.events = [];
    this.waiting = [];
    this.ws = new WebSocket(URL + path, protocols ?? [], { perMessageDeflate: { threshold: 0 }, maxPayload: 0, ...options });
    open.add(this);
    this.ws.on('message', (data, isBinary) => this.event({ data, isBinary }));
    this.ws.on('pong', (data) => this.event({ pong: data.toString('latin1') }));
    this.ws.on('close', (code, reason) => this.event({ close: `${code} ${reason}` }));
    this.ws.on('error', (error) => this.event({ error }));
    this.ws.on('open', () => this.event({ open: true }));
  }

  event(e) {
    const next = this.waiting.shift();
    if (next) next(e);
    else this.events.push(e);
  }

  // next returns the next event, which must be of a kind, and its value.
  async next(kind) {
    const e = this.events.length > 0 ? this.events.shift() : await new Promise((done) => this.waiting.push(done));
    if (e.error && kind !== 'error') throw e.error;
    if (e[kind] === undefined) throw new Error(`got ${JSON.stringify(e).slice(0, 200)}, want ${kind}`);
    return kind === 'data' ? e : e[kind];
  }

  // echoed sends a message and has it back.
  async echoed(message, want = message) {
    this.ws.send(message);
    await this.hear(want);
  }

  async hear(want) {
    const { data, isBinary } = await this.next('data');
    equal('binary', isBinary, typeof want !== 'string');
    if (!data.equals(Buffer.from(want))) throw new Error(`echo of ${want.length}: got ${data.length} bytes, or others`);
  }

  async close(code, reason) {
    this.ws.close(code, reason);
    return this.next('close');
  }
}

async function connect(path = '/echo', options = {}, protocols = []) {
  const p = new Peer(path, options, protocols);
  await p.next('open');
  return p;
}

function equal(what, got, want) {
  const [g, w] = [JSON.stringify(got), JSON.stringify(want)];
  if (g !== w) throw new Error(`${what}: got ${g.slice(0, 200)}, want ${w.slice(0, 200)}`);
}

// ask asks the server over HTTP.
async function ask(path, query = {}) {
  const url = 'http' + URL.slice(2) + path + '?' + new URLSearchParams(query);
  const answer = await fetch(url, { signal: AbortSignal.timeout(BOUND) });
  return answer.text();
}

function text(n) {
  let s = '';
  for (let i = 0; i < n; i++) s += String.fromCharCode(32 + ((i * i) % 95));
  return s;
}

function binary(n) {
  return Buffer.from(Array.from({ length: n }, (_, i) => (i * i) >> 5));
}

// noise is n bytes that do not deflate, the same every time.
function noise(n, seed = 1) {
  const p = Buffer.alloc(n);
  for (let i = 0, x = seed; i < n; i++) {
    x = (Math.imul(x, 1103515245) + 12345) | 0;
    p[i] = x >> 16;
  }
  return p;
}

const MULTIBYTE = ['é', 'κόσμε', '日本語テキスト', '🌍🚀\u{10ffff}', '\x00\x7f\x80\u07ff\u0800\uffff\u{10000}'];

for (const n of SIZES) {
  test(`text of ${n} bytes`, async () => (await connect()).echoed(text(n)));
  test(`binary of ${n} bytes`, async () => (await connect()).echoed(binary(n)));
  test(`binary of ${n} bytes, not compressed`, async () => {
    const p = await connect('/plain', { perMessageDeflate: false });
    equal('extensions', p.ws.extensions, '');
    await p.echoed(binary(n));
  });
}

test('multi-byte characters', async () => {
  const p = await connect();
  for (const s of MULTIBYTE) for (const k of [1, 7, 43, 1000, 30000]) await p.echoed(s.repeat(k));
});

test('many messages without waiting', async () => {
  const p = await connect();
  const messages = Array.from({ length: 1000 }, (_, i) => (i % 2 ? text(i) : binary(i)));
  for (const m of messages) p.ws.send(m);
  for (const m of messages) await p.hear(m);
});

// sendFragments sends a message in pieces, and does something between them.
function sendFragments(p, pieces, binary, between = () => {}) {
  pieces.forEach((piece, i) => {
    if (i > 0) between();
    p.ws.send(piece, { binary, fin: i === pieces.length - 1 });
  });
}

// cut cuts bytes into pieces of a size.
function cut(bytes, size) {
  const pieces = [];
  for (let i = 0; i < bytes.length; i += size) pieces.push(bytes.subarray(i, i + size));
  return pieces;
}

for (const perMessageDeflate of [false, { threshold: 0 }]) {
  const how = perMessageDeflate ? 'compressed' : 'not compressed';
  test(`fragments, ${how}`, async () => {
    const p = await connect('/echo', { perMessageDeflate });
    equal('extensions', p.ws.extensions !== '', Boolean(perMessageDeflate));
    sendFragments(p, ['one, ', 'two, ', 'three'], false);
    await p.hear('one, two, three');
    sendFragments(p, ['', '', ''], false);
    await p.hear('');
    const large = SIZES.map(binary);
    sendFragments(p, large, true);
    await p.hear(Buffer.concat(large));
    for (const s of MULTIBYTE) {
      for (const size of [1, 2, 3, 5]) { // within the characters, too
        sendFragments(p, cut(Buffer.from(s.repeat(50)), size), false);
        await p.hear(s.repeat(50));
      }
    }
    await p.echoed('after them');
  });
  test(`ping between fragments, ${how}`, async () => {
    const p = await connect('/echo', { perMessageDeflate });
    sendFragments(p, cut(Buffer.from('🌍'.repeat(10)), 3), false, () => p.ws.ping('between'));
    for (let i = 0; i < 13; i++) equal('pong', await p.next('pong'), 'between');
    await p.hear('🌍'.repeat(10));
  });
}

// traffic returns how many bytes the server has received and sent.
async function traffic() {
  return (await ask('/traffic')).split(' ').map(Number);
}

// checkDeflate checks that messages are compressed, each direction with its
// context or not.
async function checkDeflate(p, agreed) {
  const line = Array.from(noise(1000), (b) => `value=${b + 100}; `).join(''); // deflates to less than a half
  const rounds = 20;
  await p.echoed('all before it is counted');
  const before = await traffic();
  for (let i = 0; i < rounds; i++) await p.echoed(line);
  const after = await traffic();
  ['client', 'server'].forEach((side, i) => {
    // The window must reach back to the message before.
    const context = !agreed[side + '_no_context_takeover'] && (agreed[side + '_max_window_bits'] ?? 15) > 13;
    const [least, most] = context ? [1000, 15000] : [20000, 120000];
    const n = after[i] - before[i];
    if (n < least || n > most) throw new Error(`the ${side} sent ${n} bytes of ${rounds * line.length}, with ${JSON.stringify(agreed)}`);
  });
}

async function deflate(path, options) {
  const p = await connect(path, { perMessageDeflate: { threshold: 0, ...options } });
  const agreed = p.ws._extensions['permessage-deflate']?.params;
  if (!agreed) throw new Error(`declined ${JSON.stringify(options)}`);
  if (options.serverNoContextTakeover) equal('no context of the server', agreed.server_no_context_takeover, true);
  if (options.serverMaxWindowBits && !(agreed.server_max_window_bits <= options.serverMaxWindowBits))
    throw new Error(`agreed to ${JSON.stringify(agreed)}, not to ${JSON.stringify(options)}`);
  if (path === '/nocontext') equal('no contexts', [agreed.client_no_context_takeover, agreed.server_no_context_takeover], [true, true]);
  for (const n of SIZES) {
    await p.echoed(text(n));
    await p.echoed(noise(n % 70000, n));
  }
  for (const s of MULTIBYTE) {
    await p.echoed(s.repeat(5000));
    sendFragments(p, cut(Buffer.from(s.repeat(5000)), 7001), false);
    await p.hear(s.repeat(5000));
  }
  await checkDeflate(p, agreed);
}

const OFFERS = [
  {},
  { clientMaxWindowBits: true },
  { serverNoContextTakeover: true },
  { clientNoContextTakeover: true },
  { serverNoContextTakeover: true, clientNoContextTakeover: true },
];
for (const n of [9, 12, 15]) OFFERS.push({ serverMaxWindowBits: n }, { clientMaxWindowBits: n });
OFFERS.push({ serverMaxWindowBits: 10, clientMaxWindowBits: 10, serverNoContextTakeover: true });
for (const options of OFFERS) {
  const name = Object.entries(options).map(([k, v]) => (v === true ? k : `${k}=${v}`)).join(', ') || 'nothing more';
  test(`deflate with ${name}`, () => deflate('/echo', options));
}
test('deflate where the server has no contexts', () => deflate('/nocontext', {}));
test('deflate where the server has none', async () => {
  const p = await connect('/plain');
  equal('extensions', p.ws.extensions, '');
  await p.echoed(text(1000));
});
test('some messages are not compressed', async () => {
  const p = await connect();
  for (let i = 0; i < 20; i++) {
    p.ws.send(text(5000), { compress: i % 3 === 0 });
    await p.hear(text(5000));
  }
});

test('ping', async () => {
  const p = await connect();
  for (const payload of ['', 'x', '\xff'.repeat(125)]) {
    p.ws.ping(Buffer.from(payload, 'latin1'));
    equal('pong', await p.next('pong'), payload);
  }
  p.ws.pong('nobody asked');
  await p.hear('pong nobody asked');
  await p.echoed('after them');
});

test('ping of the server', async () => {
  const p = await connect();
  for (const payload of ['hello', 'x'.repeat(125)]) await p.echoed('!ping ' + payload, 'pong ' + payload);
});

const CLOSES = [[1000, ''], [1000, 'bye'], [1001, 'going'], [3000, 'é'.repeat(61)], [4999, 'x'.repeat(123)]];
for (const [code, reason] of [[undefined, ''], ...CLOSES]) {
  test(`close with ${code ?? 'no code'} and ${Buffer.byteLength(reason)} bytes`, async () => {
    const p = await connect();
    const name = `node ${code} ${reason.length}`;
    await p.echoed('!name ' + name, 'named');
    const back = await p.close(code, reason);
    equal('code that came back', back.split(' ')[0], String(code ?? 1005));
    equal('what OnClose got', await ask('/closed', { name }), `${code ?? 1005} ${reason}`);
  });
}

test('close by the end of the connection', async () => {
  const p = await connect();
  await p.echoed('!name node gone', 'named');
  p.ws.terminate();
  equal('what OnClose got', await ask('/closed', { name: 'node gone' }), '1006 ');
});

for (const [code, reason] of CLOSES) {
  test(`close of the server with ${code} and ${Buffer.byteLength(reason)} bytes`, async () => {
    const p = await connect();
    p.ws.send(`!close ${code} ${reason}`);
    equal('code and reason', await p.next('close'), `${code} ${reason}`);
  });
}

test('close of the server behind many messages', async () => {
  for (const n of [10, 20000]) {
    const p = await connect();
    p.ws.send(`!burst 50 ${n}`);
    for (let i = 0; i < 50; i++) {
      const { data } = await p.next('data');
      equal('message', [data.length, data[0]], [n, i]);
    }
    equal('code and reason', await p.next('close'), '1000 that was all');
  }
});

test('too large a message', async () => {
  for (const perMessageDeflate of [false, true]) {
    const p = await connect('/small', { perMessageDeflate });
    await p.echoed(binary(1000));
    p.ws.send('x'.repeat(1001));
    equal('code', (await p.next('close')).split(' ')[0], '1009');
  }
});

test('text that is not UTF-8', async () => {
  for (const bytes of [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0x61, 0xe2, 0x82]]) {
    const p = await connect();
    await p.echoed('before it');
    p.ws.send(Buffer.from(bytes), { binary: false });
    equal('code', (await p.next('close')).split(' ')[0], '1007');
  }
});

test('subprotocol', async () => {
  for (const [offered, want] of [[['echo.v1'], 'echo.v1'], [['other', 'echo.v2'], 'echo.v2'], [[], '']]) {
    const p = await connect('/echo', {}, offered);
    equal(`chosen of ${offered}`, p.ws.protocol, want);
    await p.echoed('hello');
  }
  const p = new Peer('/echo', {}, ['other']); // which this client insists on
  equal('error', (await p.next('error')).message, 'Server sent no subprotocol');
});

test('100 connections at once', async () => {
  const peers = await Promise.all(Array.from({ length: 100 }, () => connect()));
  const ends = await Promise.all(peers.map(async (p, i) => {
    for (const n of [1, 100, 3000, 70000]) await p.echoed(`${i} `.repeat(n));
    return p.close(1000, 'done');
  }));
  equal('codes', [...new Set(ends.map((e) => e.split(' ')[0]))], ['1000']);
});

async function main() {
  for (const { name, run } of cases) {
    let error = null;
    let timer;
    const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('it takes too long')), BOUND); });
    try {
      await Promise.race([run(), late]);
    } catch (e) {
      error = String(e);
    }
    clearTimeout(timer);
    for (const p of open) p.ws.terminate();
    open.clear();
    console.log(JSON.stringify({ case: name, error }));
  }
  console.log(JSON.stringify({ done: cases.length }));
}

main();
