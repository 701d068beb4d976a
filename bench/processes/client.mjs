// The one driver of all servers, in a process of its own: a few kept connections, requests that were made beforehand, every answer checked.
import { connect } from 'node:http2';
import { createConnection } from 'node:net';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  createTensor,
  decodeInferResponse,
  encodeInferRequest,
  encodeTensorProto,
  GRPCInferenceService,
  inferenceHeaderLengthName,
  PredictionService,
  tensorBytes,
} from '../../dist/core/index.js';
import { answerParent, inputValues, load } from './load.mjs';

/** @typedef {import('../serving/workloads.ts').Question} Question */
/** @typedef {import('../serving/workloads.ts').Workload} Workload */
/** @typedef {{ send: (done: (answer: Buffer) => void, fail: (error: Error) => void) => void, close: () => void }} Connection */

const connectionsOf = { http: 8, grpc: 1 };

answerParent(async (/** @type {Question} */ { address, workload, ...options }) => {
  const isGrpc = workload.protocol === 'predict' || workload.protocol === 'infer';
  const { open, read } = isGrpc ? grpcCall(workload) : httpCall(workload);
  const inFlight = options.inFlight ?? 1;
  const count = isGrpc ? connectionsOf.grpc : Math.max(connectionsOf.http, inFlight);
  const addresses = [address].flat();
  const connections = Array.from({ length: count }, (_, index) => open(/** @type {string} */ (addresses[index % addresses.length])));
  const free = isGrpc ? undefined : [...connections];
  /** @type {Buffer | undefined} */
  let expected;
  const call = () =>
    new Promise((resolve, reject) => {
      const connection = free ? (free.pop() ?? add(connections, open(/** @type {string} */ (addresses[0])))) : connections[0];
      connection?.send((answer) => {
        free?.push(connection);
        // The first one is read, and those of another length: reading all of them would cost the server the core.
        try {
          if (expected === undefined || answer.length !== expected.length) read(answer);
          expected ??= answer;
          resolve(undefined);
        } catch (error) {
          reject(error);
        }
      }, reject);
    });
  try {
    await call();
    return { ...(await load(call, options)), sample: expected ? read(expected) : [] };
  } finally {
    for (const connection of connections) connection.close();
  }
});

/** @template T @param {T[]} list @param {T} item */
function add(list, item) {
  list.push(item);
  return item;
}

/** @param {Workload} workload */
function tensorOf({ shape, values }) {
  return createTensor(
    'float32',
    shape,
    values ? Float32Array.from(values) : inputValues(shape.reduce((product, size) => product * size, 1)),
  );
}

/** @param {Workload} workload */
function httpCall(workload) {
  const { protocol, model, input, output } = workload;
  const tensor = tensorOf(workload);
  /** @type {Record<string, string>} */
  const headers = {};
  let body;
  let path = `/v2/models/${model}/infer`;
  if (protocol === 'tfs-json') {
    path = `/v1/models/${model}:predict`;
    body = Buffer.from(JSON.stringify({ instances: nested([...tensor.data], tensor.shape) }));
  } else if (protocol === 'v2-json') {
    const data = Array.from(tensor.data);
    body = Buffer.from(JSON.stringify({ inputs: [{ name: input, shape: tensor.shape, datatype: 'FP32', data }] }));
  } else {
    const encoded = encodeInferRequest({ inputs: { [input]: tensor }, outputs: [output] });
    body = Buffer.from(encoded.body);
    headers[inferenceHeaderLengthName] = String(encoded.headerLength);
  }
  headers['Content-Type'] = protocol === 'v2-binary' ? 'application/octet-stream' : 'application/json';
  headers['Content-Length'] = String(body.length);
  const head = Object.entries({ Host: 'bench', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  const request = Buffer.concat([Buffer.from(`POST ${path} HTTP/1.1\r\n${head.join('')}\r\n`), body]);
  return {
    open: (/** @type {string} */ address) => openHttp(address, request),
    read: (/** @type {Buffer} */ answer) => readHttp(answer, workload),
  };
}

/** @param {number[]} values @param {readonly number[]} shape @returns {unknown[]} */
function nested(values, shape) {
  const inner = shape.slice(1).reduce((product, size) => product * size, 1);
  if (shape.length === 1) return values;
  return Array.from({ length: shape[0] ?? 0 }, (_, index) => nested(values.slice(index * inner, (index + 1) * inner), shape.slice(1)));
}

/** node:http's client costs more than a server that does little. @param {string} address @param {Buffer} request @returns {Connection} */
function openHttp(address, request) {
  const { hostname, port } = new URL(address);
  const socket = createConnection({ host: hostname, port: Number(port), noDelay: true });
  /** @type {Buffer[]} */
  let chunks = [];
  let received = 0;
  let wanted = -1;
  /** @type {(answer: Buffer) => void} */
  let onAnswer = () => {};
  /** @type {(error: Error) => void} */
  let onError = () => {};
  socket.on('error', (error) => onError(error));
  socket.on('close', () => onError(new Error('the server closed the connection')));
  socket.on('data', (chunk) => {
    chunks.push(chunk);
    received += chunk.length;
    if (wanted === -1) wanted = lengthOf(Buffer.concat(chunks));
    if (wanted === -1 || received < wanted) return;
    const answer = chunks.length === 1 ? chunk : Buffer.concat(chunks);
    chunks = [];
    received = 0;
    wanted = -1;
    onAnswer(answer);
  });
  return {
    send: (done, fail) => {
      onAnswer = done;
      onError = fail;
      socket.write(request);
    },
    close: () => {
      onError = () => {};
      socket.destroy();
    },
  };
}

/** Of a whole answer; -1 while its headers are not there. @param {Buffer} answer */
function lengthOf(answer) {
  const end = answer.indexOf('\r\n\r\n');
  if (end === -1) return -1;
  const length = /content-length: *(\d+)/i.exec(answer.toString('latin1', 0, end))?.[1];
  if (length === undefined) throw new Error(`an answer without content-length: ${answer.toString('latin1', 0, end)}`);
  return end + 4 + Number(length);
}

/** @param {Buffer} answer @param {Workload} workload @returns {number[]} */
function readHttp(answer, { protocol, output }) {
  const end = answer.indexOf('\r\n\r\n');
  const head = answer.toString('latin1', 0, end);
  const body = answer.subarray(end + 4);
  if (!head.startsWith('HTTP/1.1 200')) throw new Error(`${head}\n${body.toString()}`);
  if (protocol === 'tfs-json') return JSON.parse(body.toString()).predictions.flat(8).slice(0, 4);
  const headerLength = new RegExp(`${inferenceHeaderLengthName}: *(\\d+)`, 'i').exec(head)?.[1];
  const { outputs } = decodeInferResponse(body, headerLength === undefined ? undefined : Number(headerLength));
  return firstOf(outputs[output]);
}

/** @param {Workload} workload */
function grpcCall(workload) {
  const { protocol, model, input, output } = workload;
  const tensor = tensorOf(workload);
  const { predict } = PredictionService.method;
  const { modelInfer } = GRPCInferenceService.method;
  const method = protocol === 'predict' ? predict : modelInfer;
  const message =
    protocol === 'predict'
      ? toBinary(
          predict.input,
          create(predict.input, {
            modelSpec: { name: model },
            inputs: { [input]: encodeTensorProto(tensor, { asContent: true }) },
            outputFilter: [output],
          }),
        )
      : toBinary(
          modelInfer.input,
          create(modelInfer.input, {
            modelName: model,
            inputs: [{ name: input, datatype: 'FP32', shape: tensor.shape.map(BigInt) }],
            outputs: [{ name: output }],
            rawInputContents: [tensorBytes(input, tensor)],
          }),
        );
  const framed = Buffer.alloc(5 + message.length);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, 5);
  const read = (/** @type {Buffer} */ answer) => {
    const bytes = answer.subarray(5);
    if (protocol === 'predict') {
      const proto = fromBinary(predict.output, bytes).outputs[output];
      const floats = proto?.tensorContent.length ? floatsOf(proto.tensorContent) : proto?.floatVal;
      return Array.from(floats ?? []).slice(0, 4);
    }
    const { rawOutputContents, outputs } = fromBinary(modelInfer.output, bytes);
    const [raw] = rawOutputContents;
    return Array.from(raw ? floatsOf(raw) : (outputs[0]?.contents?.fp32Contents ?? [])).slice(0, 4);
  };
  const path = `/${method.parent.typeName}/${method.name}`;
  return { open: (/** @type {string} */ address) => openGrpc(address, path, framed), read };
}

/** With the windows of the clients in C++ and Python, which grow to what is on the way. @param {string} address @param {string} path @param {Buffer} message @returns {Connection} */
function openGrpc(address, path, message) {
  const session = connect(`http://${address}`, { settings: { initialWindowSize: 4 * 2 ** 20 } });
  session.on('remoteSettings', () => session.setLocalWindowSize(16 * 2 ** 20));
  const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
  return {
    send: (done, fail) => {
      const stream = session.request(headers);
      /** @type {Buffer[]} */
      const chunks = [];
      let status = '';
      stream.on('error', fail);
      stream.on('response', (fields) => {
        status = String(fields['grpc-status'] ?? status);
      });
      stream.on('trailers', (fields) => {
        status = `${fields['grpc-status']} ${fields['grpc-message'] ?? ''}`;
      });
      stream.on('data', (chunk) => chunks.push(chunk));
      stream.on('end', () => {
        if (chunks.length === 0) return fail(new Error(`no answer, status ${status}`));
        done(chunks.length === 1 ? /** @type {Buffer} */ (chunks[0]) : Buffer.concat(chunks));
      });
      stream.end(message);
    },
    close: () => session.destroy(),
  };
}

/** @param {import('../../dist/core/index.js').AnyTensor | undefined} tensor @returns {number[]} */
function firstOf(tensor) {
  if (tensor?.dtype !== 'float32') throw new Error(`the answer is ${tensor?.dtype ?? 'nothing'}, float32 was expected`);
  return Array.from(tensor.data.subarray(0, 4));
}

/** @param {Uint8Array} bytes */
function floatsOf(bytes) {
  return new Float32Array(new Uint8Array(bytes).buffer);
}
