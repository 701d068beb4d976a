import { create, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type AnyTensor,
  encodeTensorProto,
  type InferAnswer,
  inferenceDatatypeOf,
  ModelInferResponseSchema,
  PredictResponseSchema,
  tensorBytes,
  writeModelInferResponse,
  writePredictResponse,
} from '../../../src/core/index.ts';
import { arbitraryTensor } from './support/arbitrary-tensor.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** JavaScript may give a NaN other bits whenever it is read as a number, which the general writer does. */
function withOneNaN(tensor: AnyTensor): AnyTensor {
  const { data } = tensor;
  if (!(data instanceof Float32Array || data instanceof Float64Array)) return tensor;
  for (const [at, value] of data.entries()) if (Number.isNaN(value)) data[at] = Number.NaN;
  return tensor;
}

test('a PredictResponse has the bytes that the general writer gives it', () => {
  const aliases = fc.oneof(fc.string(), fc.constantFrom('modèle', 'a'.repeat(127), 'a'.repeat(128), 'é'.repeat(64)));
  const outputs = fc.dictionary(aliases, arbitraryTensor().map(withOneNaN), { maxKeys: 3 });
  const specs = fc.record({ name: fc.string(), version: fc.bigInt(0n, 2n ** 63n - 1n), signatureName: fc.string() });
  fc.assert(
    fc.property(specs, outputs, fc.boolean(), ({ name, version, signatureName }, tensors, asContent) => {
      const written = writePredictResponse({ name, version: String(version), signatureName }, tensors, { asContent });

      const message = create(PredictResponseSchema, {
        modelSpec: { name, versionChoice: { case: 'version', value: { value: version } }, signatureName },
        outputs: Object.fromEntries(Object.entries(tensors).map(([alias, tensor]) => [alias, encodeTensorProto(tensor, { asContent })])),
      });
      expect(hex(written)).toBe(hex(toBinary(PredictResponseSchema, message)));
    }),
    { numRuns: 50 },
  );
});

test('a ModelInferResponse has the bytes that the general writer gives it', () => {
  const outputs = fc.dictionary(
    fc.string(),
    arbitraryTensor().filter(({ dtype }) => inferenceDatatypeOf(dtype) !== undefined),
    { maxKeys: 3 },
  );
  const answers: fc.Arbitrary<InferAnswer> = fc.record({ modelName: fc.string(), modelVersion: fc.string(), id: fc.string(), outputs });
  fc.assert(
    fc.property(answers, (answer) => {
      const tensors = Object.entries(answer.outputs);
      const message = create(ModelInferResponseSchema, {
        modelName: answer.modelName,
        modelVersion: answer.modelVersion,
        id: answer.id,
        outputs: tensors.map(([name, { dtype, shape }]) => ({
          name,
          datatype: inferenceDatatypeOf(dtype) ?? '',
          shape: shape.map(BigInt),
        })),
        rawOutputContents: tensors.map(([name, tensor]) => tensorBytes(name, tensor)),
      });

      expect(hex(writeModelInferResponse(answer))).toBe(hex(toBinary(ModelInferResponseSchema, message)));
    }),
  );
});
