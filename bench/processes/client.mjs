// A client in a process of its own: Open Inference Protocol with binary tensors over HTTP, or TensorFlow Serving over gRPC.
import { Agent, request } from 'node:http';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Client, credentials } from '@grpc/grpc-js';
import {
  createTensor,
  encodeInferRequest,
  encodeTensorProto,
  inferenceHeaderLengthName,
  PredictionService,
} from '../../dist/core/index.js';
import { answerParent, inputValues, load } from './load.mjs';

const { rest, grpc, name, signature, input, output, shape } = JSON.parse(process.argv[2] ?? '{}');
const values = inputValues(shape.reduce((/** @type {number} */ product, /** @type {number} */ size) => product * size, 1));
const tensor = createTensor('float32', shape, values);
const calls = { rest: openRest(), grpc: openGrpc() };
answerParent(({ protocol, ...options }) => load(protocol === 'grpc' ? calls.grpc : calls.rest, options));

function openRest() {
  const agent = new Agent({ keepAlive: true });
  const { body, headerLength } = encodeInferRequest({ signature, inputs: { [input]: tensor }, outputs: [output] });
  const headers = { 'content-type': 'application/octet-stream', 'content-length': body.length, [inferenceHeaderLengthName]: headerLength };
  const url = `${rest}/v2/models/${name}/infer`;
  return () =>
    new Promise((resolve, reject) => {
      const outgoing = request(url, { agent, method: 'POST', headers }, (answer) => {
        answer.resume();
        answer.once('end', () => (answer.statusCode === 200 ? resolve(undefined) : reject(new Error(`status ${answer.statusCode}`))));
      });
      outgoing.once('error', reject);
      outgoing.end(body);
    });
}

function openGrpc() {
  const client = new Client(grpc, credentials.createInsecure());
  const { predict } = PredictionService.method;
  const path = `/${predict.parent.typeName}/${predict.name}`;
  const inputs = { [input]: encodeTensorProto(tensor, { asContent: true }) };
  const message = create(predict.input, { modelSpec: { name, signatureName: signature }, inputs, outputFilter: [output] });
  const bytes = Buffer.from(toBinary(predict.input, message));
  return () =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        path,
        (/** @type {Buffer} */ value) => value,
        (value) => fromBinary(predict.output, value),
        bytes,
        (error, answer) => (error || !answer?.outputs[output] ? reject(error ?? new Error(`no output ${output}`)) : resolve(undefined)),
      );
    });
}
