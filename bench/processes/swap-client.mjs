// A client in a process of its own, which asks from its start to its stop: Open Inference Protocol with binary tensors over HTTP.
import { Agent, request } from 'node:http';
import { createTensor, encodeInferRequest, inferenceHeaderLengthName } from '../../dist/core/index.js';
import { answerParent, inputValues } from './load.mjs';

const { rest, name, signature, input, output, shape } = JSON.parse(process.argv[2] ?? '{}');
const values = inputValues(shape.reduce((/** @type {number} */ product, /** @type {number} */ size) => product * size, 1));
const tensor = createTensor('float32', shape, values);
const { body, headerLength } = encodeInferRequest({ signature, inputs: { [input]: tensor }, outputs: [output] });
const headers = { 'content-type': 'application/octet-stream', 'content-length': body.length, [inferenceHeaderLengthName]: headerLength };
const agent = new Agent({ keepAlive: true });
const url = `${rest}/v2/models/${name}/infer`;

/** @returns {Promise<{ status: number, version: string }>} */
function ask() {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { agent, method: 'POST', headers }, (answer) => {
      answer.resume();
      const version = String(answer.headers['nearfar-model-version']);
      answer.once('end', () => resolve({ status: answer.statusCode ?? 0, version }));
      answer.once('error', reject);
    });
    outgoing.once('error', reject);
    outgoing.end(body);
  });
}

let isRunning = false;
/** @type {Promise<void>[]} */
let callers = [];
/** @type {number[]} */
let times = [];
/** @type {string[]} */
let failures = [];
/** When the first answer of each version came, and when the last request that it answered was sent. @type {Record<string, { first: number, last: number }>} */
let versions = {};
let startedAt = 0;

async function keepAsking() {
  while (isRunning) {
    const sentAt = Date.now();
    const began = performance.now();
    try {
      const { status, version } = await ask();
      times.push(performance.now() - began);
      if (status !== 200) failures.push(`status ${status}`);
      const known = versions[version];
      versions[version] = { first: known?.first ?? Date.now(), last: Math.max(sentAt, known?.last ?? 0) };
    } catch (error) {
      failures.push(String(error));
    }
  }
}

answerParent(async ({ start }) => {
  if (start !== undefined) {
    [times, failures, versions, isRunning] = [[], [], {}, true];
    startedAt = performance.now();
    callers = Array.from({ length: start }, keepAsking);
    return {};
  }
  isRunning = false;
  await Promise.all(callers);
  const seconds = (performance.now() - startedAt) / 1000;
  times.sort((a, b) => a - b);
  const quantile = (/** @type {number} */ share) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
  return { seconds, requests: times.length, failures, versions, p50Ms: quantile(0.5), p99Ms: quantile(0.99), maxMs: quantile(1) };
});
