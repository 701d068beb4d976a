// A picture in the two JSON forms and as a binary tensor: how long it takes to make a tensor of each body, and what JSON.parse takes.
import { createTensor, decodeInferRequest, decodePredictJson, encodeInferRequest } from '../../dist/core/index.js';
import { answerParent } from './load.mjs';

/** @typedef {'digits4' | 'float32' | 'uint8'} Numbers */

const shape = [1, 224, 224, 3];
const count = 224 * 224 * 3;
/** @type {Record<Numbers, (value: number) => number>} */
const written = {
  // JSON.stringify writes -0 as 0.
  digits4: (value) => Number((value * 2 - 1).toFixed(4)) + 0,
  float32: (value) => Math.fround(value * 2 - 1),
  uint8: (value) => Math.floor(value * 256),
};
const signature = {
  method: /** @type {const} */ ('predict'),
  inputs: { x: { dtype: /** @type {const} */ ('float32'), shape } },
  outputs: {},
};

/** @type {Map<string, () => unknown>} */
const decoders = new Map();
for (const [name, of] of Object.entries(written)) {
  const values = Float64Array.from({ length: count }, (_, index) => of(((index * 2_654_435_761) % 2 ** 32) / 2 ** 32));
  const rows = Array.from({ length: 224 }, (_, y) =>
    Array.from({ length: 224 }, (_, x) => [...values.subarray((y * 224 + x) * 3, (y * 224 + x) * 3 + 3)]),
  );
  const text = JSON.stringify({ instances: [rows] });
  const body = new TextEncoder().encode(text);
  const binary = encodeInferRequest({ inputs: { x: createTensor('float32', shape, Float32Array.from(values)) } });
  decoders.set(`${name} parse`, () => JSON.parse(text));
  decoders.set(`${name} by hand`, () => {
    const data = new Float32Array(count);
    flatten(JSON.parse(Buffer.from(body.buffer).toString()).instances, data, 0);
    return data;
  });
  decoders.set(`${name} json`, () => decodePredictJson(body, () => signature).inputs['x']?.data);
  decoders.set(`${name} binary`, () => decodeInferRequest(binary.body, binary.headerLength).inputs['x']?.data);
  const [want, got, alike] = ['by hand', 'json', 'binary'].map((how) => /** @type {Float32Array} */ (decoders.get(`${name} ${how}`)?.()));
  for (let i = 0; i < count; i++)
    if (!Object.is(want?.[i], got?.[i]) || !Object.is(want?.[i], alike?.[i])) throw new Error(`value ${i} differs`);
}

/** @param {any} list @param {Float32Array} data @param {number} start @returns {number} */
function flatten(list, data, start) {
  let at = start;
  if (typeof list[0] === 'number') for (let i = 0; i < list.length; i++) data[at++] = list[i];
  else for (let i = 0; i < list.length; i++) at = flatten(list[i], data, at);
  return at;
}

answerParent(async ({ decoder, times }) => {
  const decode = decoders.get(decoder);
  if (!decode) throw new Error(`no decoder ${decoder}`);
  const startedAt = performance.now();
  for (let i = 0; i < times; i++) decode();
  return { ms: (performance.now() - startedAt) / times };
});
