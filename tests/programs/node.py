"""node: JSON, strings, buffers, compression and worker threads that are sent their buffers."""

from support import check, test

SCRIPT = r"""
'use strict';
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto');
const zlib = require('zlib');
const hash = (data) => crypto.createHash('sha256').update(data).digest('hex').slice(0, 16);
let seed = 42;
const random = (n) => (seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff) % n;

function objects(count) {
    const list = [];
    for (let i = 0; i < count; i++)
        list.push({ id: i, name: `name ${random(1000)}`,
                    tags: Array.from({ length: random(8) }, (_, j) => `t${j * i % 97}`),
                    nested: { a: { b: [i, i / 7, null, true] } }, text: 'ä€'.repeat(random(30)) });
    return list;
}

function buffers(rounds) {
    const kept = [];
    for (let i = 0; i < rounds; i++) {
        const b = i % 3 ? Buffer.alloc(random(100000) + 1, `${i},`) : Buffer.from('x'.repeat(random(5000)) + i);
        kept.push(b);
        if (kept.length > 200)
            kept.splice(random(200), 50);
    }
    return Buffer.concat(kept);
}

if (!isMainThread) {
    seed = workerData.seed;
    const text = JSON.stringify(objects(workerData.count));
    const all = buffers(workerData.count / 4);
    parentPort.once('message', (given) => {
        const own = new Uint8Array(all.length + given.byteLength);
        own.set(new Uint8Array(given), 0);
        own.set(all, given.byteLength);
        parentPort.postMessage({ text: hash(text), length: text.length, buffer: own.buffer }, [own.buffer]);
    });
} else {
    const count = Number(process.argv[2]);
    const text = JSON.stringify(objects(count));
    console.log('json', text.length, hash(text), hash(JSON.stringify(JSON.parse(text))));
    const all = buffers(count / 2);
    const packed = zlib.gzipSync(all, { level: 3 }), brotli = zlib.brotliCompressSync(text.slice(0, 300000));
    console.log('buffers', all.length, hash(all), zlib.gunzipSync(packed).equals(all), brotli.length);
    const words = new Map();
    for (const word of text.split(/[^a-z0-9]+/))
        words.set(word, (words.get(word) || 0) + 1);
    console.log('words', words.size, hash([...words].sort().join()));
    const start = (i) => new Promise((resolve, reject) => {
        const worker = new Worker(__filename, { workerData: { seed: i + 1, count: count / 4 } });
        const given = new Uint8Array(100000 * (i + 1)).fill(i);
        worker.on('error', reject);
        worker.once('message', (m) => { resolve([i, m.text, m.length, hash(new Uint8Array(m.buffer))].join(' ')); });
        worker.postMessage(given.buffer, [given.buffer]);
    });
    (async () => {
        for (let round = 0; round < 2; round++)
            console.log((await Promise.all([0, 1, 2, 3].map((i) => start(i + 4 * round)))).join('\n'));
        const part = (i) => all.subarray(0, 50000 * i);
        const deflate = (i) => new Promise((resolve) => zlib.deflate(part(i), (_, d) => resolve(d.length)));
        console.log('pool', (await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(deflate))).join(' '));
        console.log('done');
    })();
}
"""


@test(timeout=120, needs=["node"])
def node(case):
    script = case.write("script.js", SCRIPT)
    output = case.run_both([case.program("node"), script, str(case.size(8_000, 80_000))])
    check("true" in output and output.endswith("done\n"), "node: wrong output", output)
