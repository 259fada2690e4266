// WebSocket servers of the npm package ws.
//
// Usage: server.cjs [CERT KEY]. It prints a line of JSON with the servers' ports,
// and one with the code and reason of every connection that ends, "" if there was
// none. It ends with its standard input.
'use strict';

const fs = require('fs');
const { WebSocketServer } = require('ws');

const [cert, key] = process.argv.slice(2).map((path) => fs.readFileSync(path));

// What every server may do about compression.
const SERVERS = {
  echo: {},
  nocontext: { serverNoContextTakeover: true, clientNoContextTakeover: true },
  windows: { serverMaxWindowBits: 10, clientMaxWindowBits: 9 },
  plain: false,
};

function serve(ws) {
  ws.on('message', (data, isBinary) => {
    const message = data.toString();
    if (isBinary || !message.startsWith('!')) {
      ws.send(data, { binary: isBinary });
      return;
    }
    const [, word, rest] = /^!(\w*) ?(.*)$/s.exec(message);
    if (word === 'fragments') {
      ws.send(rest);
      const bytes = Buffer.from(rest);
      for (let i = 0; i < bytes.length; i++) { // within the characters, with pings between
        ws.send(bytes.subarray(i, i + 1), { binary: false, fin: i === bytes.length - 1 });
        ws.ping('between');
      }
      ['', 'one, ', '', 'x'.repeat(70000), ''].forEach((p, i) => ws.send(p, { binary: true, fin: i === 4 }));
    } else if (word === 'ping') {
      ws.once('pong', (payload) => ws.send('pong ' + payload));
      ws.ping(rest);
    } else if (word === 'close') {
      ws.close(parseInt(rest), rest.slice(5));
    }
  });
  ws.on('close', (code, reason) => console.log(JSON.stringify({ closed: code === 1006 ? '' : `${code} ${reason}` })));
  ws.on('error', () => {}); // it closes, too
}

async function main() {
  const ports = {};
  for (const [name, options] of Object.entries(SERVERS)) {
    const server = cert ? require('https').createServer({ cert, key }) : require('http').createServer();
    const perMessageDeflate = options && { threshold: 0, ...options };
    new WebSocketServer({ server, perMessageDeflate, handleProtocols: (offered) => (offered.has('echo.v1') ? 'echo.v1' : false) }).on('connection', serve);
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    ports[name] = server.address().port;
  }
  console.log(JSON.stringify({ ports }));
  process.stdin.resume().on('end', () => process.exit());
}

main();
