// A client in a process of its own that asks some servers in turn, a share of the time for one of a few inputs that they have answered
// before, else for one that nobody ever asked: Open Inference Protocol with binary tensors over HTTP.
import { Agent, request } from 'node:http';
import { createTensor, encodeInferRequest, inferenceHeaderLengthName } from '../../dist/core/index.js';
import { answerParent, inputValues } from './load.mjs';

const { servers, name, signature, input, output, shape } = JSON.parse(process.argv[2] ?? '{}');
const knownInputs = 16;
const sampleEveryMs = 2;
const values = inputValues(shape.reduce((/** @type {number} */ product, /** @type {number} */ size) => product * size, 1));
const agent = new Agent({ keepAlive: true });
const { body, headerLength } = encodeInferRequest({
  signature,
  inputs: { [input]: createTensor('float32', shape, values) },
  outputs: [output],
});
const headers = { 'content-type': 'application/octet-stream', 'content-length': body.length, [inferenceHeaderLengthName]: headerLength };
let unknownInputs = 0;

/** The body with another first value. @param {number} first */
function bodyOf(first) {
  const own = Buffer.from(body);
  own.writeFloatLE(first, headerLength);
  return own;
}

/** @param {string} server @param {number} first @returns {Promise<string | undefined>} what the server says of its cache. */
function ask(server, first) {
  return new Promise((resolve, reject) => {
    const outgoing = request(`${server}/v2/models/${name}/infer`, { agent, method: 'POST', headers }, (answer) => {
      answer.resume();
      const cache = answer.headers['nearfar-cache'];
      answer.once('end', () => (answer.statusCode === 200 ? resolve(cache?.toString()) : reject(new Error(`status ${answer.statusCode}`))));
    });
    outgoing.once('error', reject);
    outgoing.end(bodyOf(first));
  });
}

/** The same choices in every run (xorshift32, Marsaglia 2003). @param {number} seed */
function openChance(seed) {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** @param {{ processes: number, inFlight: number, hitRate: number, durationMs: number }} options */
async function load({ processes, inFlight, hitRate, durationMs }) {
  const asked = servers.slice(0, processes);
  for (const server of asked) for (let first = 0; first < knownInputs; first++) await ask(server, first);
  const chance = openChance(2_463_534_242);
  /** @type {number[]} */
  const latencies = [];
  /** @type {Record<string, number>} */
  const outcomes = {};
  let open = 0;
  let next = 0;
  const samples = { count: 0, sum: 0 };
  const sampling = setInterval(() => {
    samples.count++;
    samples.sum += open;
  }, sampleEveryMs);
  const startedAt = performance.now();
  const keepAsking = async () => {
    while (performance.now() - startedAt < durationMs) {
      const first = chance() < hitRate ? Math.floor(chance() * knownInputs) : knownInputs + ++unknownInputs;
      const beganAt = performance.now();
      open++;
      const outcome = (await ask(asked[next++ % asked.length], first)) ?? 'none';
      open--;
      latencies.push(performance.now() - beganAt);
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, keepAsking));
  clearInterval(sampling);
  const seconds = (performance.now() - startedAt) / 1000;
  latencies.sort((a, b) => a - b);
  const quantile = (/** @type {number} */ share) =>
    latencies[Math.min(latencies.length - 1, Math.floor(share * latencies.length))] ?? Number.NaN;
  return {
    perSecond: latencies.length / seconds,
    meanMs: latencies.reduce((sum, ms) => sum + ms, 0) / latencies.length,
    p50Ms: quantile(0.5),
    p95Ms: quantile(0.95),
    p99Ms: quantile(0.99),
    meanInFlight: samples.sum / samples.count,
    outcomes,
  };
}

answerParent(load);
