// What Node itself does: node:http that parses the JSON and answers it in the form of each protocol, and a grpc-js method that
// answers the bytes of a recorded answer. No checks, no model, no queue.
import { createServer } from 'node:http';
import { create, toBinary } from '@bufbuild/protobuf';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { createTensor, encodeTensorProto, GRPCInferenceService, PredictionService, tensorBytes } from '../../dist/core/index.js';
import { answerParent, usage } from './load.mjs';

const http = createServer((request, response) => {
  /** @type {Buffer[]} */
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const { instances, inputs } = JSON.parse(Buffer.concat(chunks).toString());
    const half = (/** @type {number[]} */ values) => values.map((value) => value / 2 + 2);
    const answer = instances
      ? { predictions: half(instances) }
      : {
          model_name: 'half_plus_two',
          model_version: '1',
          outputs: [{ name: 'y', shape: inputs[0].shape, datatype: 'FP32', data: half(inputs[0].data) }],
        };
    const body = Buffer.from(JSON.stringify(answer));
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
    response.end(body);
  });
});
await new Promise((resolve) => http.listen(0, '127.0.0.1', () => resolve(undefined)));
const address = http.address();
const { port } = /** @type {import('node:net').AddressInfo} */ (address);

const tensor = createTensor('float32', [3], Float32Array.of(2.5, 3, 4.5));
const { predict } = PredictionService.method;
const { modelInfer } = GRPCInferenceService.method;
const answers = [
  /** @type {const} */ ([
    predict,
    toBinary(
      predict.output,
      create(predict.output, { outputs: { y: encodeTensorProto(tensor, { asContent: false }) }, modelSpec: { name: 'half_plus_two' } }),
    ),
  ]),
  /** @type {const} */ ([
    modelInfer,
    toBinary(
      modelInfer.output,
      create(modelInfer.output, {
        modelName: 'half_plus_two',
        outputs: [{ name: 'y', datatype: 'FP32', shape: [3n] }],
        rawOutputContents: [tensorBytes('y', tensor)],
      }),
    ),
  ]),
];
const grpc = new Server({ 'grpc.max_receive_message_length': 2 ** 31 - 1 });
for (const [method, answer] of answers) {
  const bytes = Buffer.from(answer);
  const same = (/** @type {Buffer} */ value) => value;
  grpc.register(
    `/${method.parent.typeName}/${method.name}`,
    (/** @type {any} */ _, /** @type {any} */ done) => done(null, bytes),
    same,
    same,
    'unary',
  );
}
const grpcPort = await new Promise((resolve, reject) => {
  grpc.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
});
process.once('SIGTERM', () => process.exit());
answerParent(async (question) => usage(question), { rest: `http://127.0.0.1:${port}`, grpc: `127.0.0.1:${grpcPort}` });
