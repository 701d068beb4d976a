import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { toBinary } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NearfarError } from '../../../src/core/index.ts';
import { TensorProtoSchema } from '../../../src/core/protocol/gen/tensorflow/core/framework/tensor_pb.ts';
import { GetModelMetadataResponseSchema } from '../../../src/core/protocol/gen/tensorflow_serving/apis/get_model_metadata_pb.ts';
import { GetModelStatusResponseSchema } from '../../../src/core/protocol/gen/tensorflow_serving/apis/get_model_status_pb.ts';
import { PredictRequestSchema } from '../../../src/core/protocol/gen/tensorflow_serving/apis/predict_pb.ts';
import { ModelServerConfigSchema } from '../../../src/core/protocol/gen/tensorflow_serving/config/model_server_config_pb.ts';
import { BatchingParametersSchema } from '../../../src/core/protocol/gen/tensorflow_serving/servables/tensorflow/session_bundle_config_pb.ts';
import { parseTextMessage } from '../../../src/core/protocol/text-format.ts';
import { sharedData } from '../../support/shared-data.ts';

const request = (text: string) => parseTextMessage(PredictRequestSchema, text);
const tensor = (text: string) => parseTextMessage(TensorProtoSchema, text);

describe('the text form of a message', () => {
  test('has fields, nested messages in both brackets, wrappers and separators', () => {
    const read = request(`
      # A comment, and one more # inside
      model_spec: < name: 'm', version { value: 123 }; signature_name: "a" "b" # joined
        'c' >
      output_filter: "x" output_filter: ["y", "z"],
      output_filter: []
    `);

    expect(read).toMatchObject({
      modelSpec: { name: 'm', versionChoice: { case: 'version', value: { value: 123n } }, signatureName: 'abc' },
      outputFilter: ['x', 'y', 'z'],
    });
  });

  test('has maps, whose last entry of a key counts', () => {
    const { inputs } = request(`
      inputs { key: "a" value { dtype: DT_FLOAT } } inputs: [{ key: "b" }, { value < dtype: 3 > }] inputs { key: "b" value { dtype: DT_INT64 } }
    `);

    expect(inputs).toMatchObject({ a: { dtype: 1 }, b: { dtype: 9 }, '': { dtype: 3 } });
  });

  test('has every kind of scalar', () => {
    const read = tensor(String.raw`
      version_number: -0x10  dtype: DT_DOUBLE
      double_val: [1, -2.5, 1e3, .5, 3.f, inf, -Infinity]  double_val: nan
      int64_val: -9223372036854775808  int64_val: 017
      bool_val: [true, false, t, f, 1, 0, True, False]
      string_val: "\n\t\\\"\'\x41\101\u00e4\U0001F600"
    `);

    expect(read).toMatchObject({ versionNumber: -16, dtype: 2, int64Val: [-(2n ** 63n), 15n] });
    expect(read.doubleVal).toEqual([1, -2.5, 1000, 0.5, 3, Infinity, -Infinity, Number.NaN]);
    expect(read.boolVal).toEqual([true, false, true, false, true, false, true, false]);
    expect(read.stringVal.map((bytes) => new TextDecoder().decode(bytes))).toEqual(['\n\t\\"\'AAä😀']);
  });

  test('has enums by name and number', () => {
    const { modelVersionStatus } = parseTextMessage(
      GetModelStatusResponseSchema,
      'model_version_status { state: AVAILABLE } model_version_status { state: 50 }',
    );

    expect(modelVersionStatus.map(({ state }) => state)).toEqual([30, 50]);
  });

  const protos = sharedData('tfs-protos');
  test.skipIf(!protos)('of real predict requests reads as their binary form', () => {
    const names = readdirSync(protos!).filter((name) => /^predict_request.*\.txtpb$/.test(name));
    expect(names.length).toBeGreaterThan(5);
    for (const name of names) {
      const read = request(readFileSync(join(protos!, name), 'utf8'));

      const binary = readFileSync(join(protos!, name.replace(/txtpb$/, 'pb')));
      expect(Buffer.from(toBinary(PredictRequestSchema, read)).length, name).toBe(binary.length);
    }
  });
});

describe('the config files of TensorFlow Serving', () => {
  const good = sharedData('tfs-testdata/good_model_config.txt');
  test.skipIf(!good)('are read', () => {
    const { config } = parseTextMessage(ModelServerConfigSchema, readFileSync(good!, 'utf8'));

    expect(config).toMatchObject({ case: 'modelConfigList', value: { config: [{ name: 'half_plus_two' }, { name: 'half_plus_three' }] } });
  });

  const bad = sharedData('tfs-testdata/bad_model_config.txt');
  test.skipIf(!bad)('are refused in its words', () => {
    expect(() => parseTextMessage(ModelServerConfigSchema, readFileSync(bad!, 'utf8'))).toThrow(
      'Error parsing text-format tensorflow.serving.ModelServerConfig: 1:12: ' +
        'Message type "tensorflow.serving.ModelServerConfig" has no field named "improperly".',
    );
  });

  test('hold numbers in wrappers', () => {
    const { maxBatchSize, allowedBatchSizes } = parseTextMessage(
      BatchingParametersSchema,
      'max_batch_size { value: 128 } allowed_batch_sizes: [32, 128]',
    );

    expect([maxBatchSize, allowedBatchSizes]).toEqual([128n, [32n, 128n]]);
  });
});

describe('an error names line and column in the words of protobuf', () => {
  test.each([
    ['improperly formatted file', '1:12: Message type "tensorflow.serving.PredictRequest" has no field named "improperly".'],
    ['\n\tnosuch: 1', '2:15: Message type "tensorflow.serving.PredictRequest" has no field named "nosuch".'],
    ['model_spec { nosuch: 1 }', '1:20: Message type "tensorflow.serving.ModelSpec" has no field named "nosuch".'],
    ['model_spec { name: 1 }', '1:20: Expected string, got: 1'],
    ['model_spec { name "x" }', '1:19: Expected ":", found ""x"".'],
    ['model_spec: 5', '1:13: Expected "{", found "5".'],
    ['model_spec { name: "a"', '1:23: Expected identifier, got: '],
    ['model_spec { name: "a" >', '1:24: Expected "}", found ">".'],
    ['model_spec {} model_spec {}', '1:26: Non-repeated field "model_spec" is specified multiple times.'],
    ['model_spec { name: "" name: "" }', '1:27: Non-repeated field "name" is specified multiple times.'],
    [
      'model_spec { version { value: 1 } version_label: "a" }',
      '1:48: Field "version_label" is specified along with field "version", another member of oneof "version_choice".',
    ],
    ['model_spec { version { value: "1" } }', '1:31: Expected integer, got: "1"'],
    ['model_spec { version { value: 1.5 } }', '1:31: Expected integer, got: 1.5'],
    ['model_spec { version { value: 9223372036854775808 } }', '1:31: Integer out of range (9223372036854775808)'],
    ['output_filter: ["a" "b", "c"', '1:29: Expected "]", found "".'],
    ['output_filter: "a\nb"', '1:16: String literals cannot cross line boundaries.'],
    ['output_filter: "a', '1:16: Unexpected end of string.'],
    [String.raw`output_filter: "\U00110000"`, '1:16: Invalid escape sequence in string literal.'],
    ['inputs { value { dtype: DT_NO } }', '1:25: Unknown enumeration value of "DT_NO" for field "dtype".'],
    ['inputs { value { dtype: "a" } }', '1:25: Expected integer or identifier, got: "a"'],
    ['inputs { nosuch: 1 }', '1:16: Message type "tensorflow.serving.PredictRequest.InputsEntry" has no field named "nosuch".'],
    ['inputs { value { bool_val: maybe } }', '1:28: Invalid value for boolean field "bool_val". Value: "maybe".'],
    ['inputs { value { bool_val: 2 } }', '1:28: Integer out of range (2)'],
    ['inputs { value { float_val: x } }', '1:29: Expected double, got: x'],
    ['@', '1:1: Invalid character "@" encountered in text.'],
    ['}', '1:1: Expected identifier, got: }'],
    ['[type.googleapis.com/x] {}', '1:1: Extensions and google.protobuf.Any written out are not read here'],
  ])('%j', (text, message) => {
    expect(() => request(text)).toThrow(
      expect.objectContaining({
        code: 'invalid-argument',
        message: expect.stringContaining(`Error parsing text-format tensorflow.serving.PredictRequest: ${message}`),
      }),
    );
  });

  test('and the file', () => {
    expect(() => parseTextMessage(PredictRequestSchema, 'x: 1', { file: '/etc/models.config' })).toThrow(
      expect.objectContaining({
        message: expect.stringContaining('tensorflow.serving.PredictRequest: /etc/models.config: 1:2: Message type'),
        details: { line: 1, column: 2, file: '/etc/models.config' },
      }),
    );
  });

  test('of an Any that is written out', () => {
    const text = 'metadata { key: "signature_def" value { [type.googleapis.com/tensorflow.serving.SignatureDefMap] {} } }';

    expect(() => parseTextMessage(GetModelMetadataResponseSchema, text)).toThrow(/in message type "google.protobuf.Any"/);
  });
});

test('messages that nest without end are refused', () => {
  const text = 'struct_value { fields { key: "a" value { '.repeat(5000);

  expect(() => parseTextMessage(ValueSchema, text)).toThrow(/exceeded the configured recursion limit of 100/);
});

test('any text is a message or a typed error', () => {
  const word = fc.constantFrom(
    ...[
      'model_spec',
      'inputs',
      'key',
      'value',
      'output_filter',
      'dtype',
      '{',
      '}',
      '<',
      '>',
      '[',
      ']',
      ':',
      ',',
      ';',
      '-',
      '"a"',
      "'",
      '"',
    ],
    ...['\\', '1', '0x', '09', '1e', '#', '\n', 'inf', '.', '"\\x"', '"\\777"', '"\\ud800"', '\u{1f600}', '\0'],
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(word, { maxLength: 30 }).map((words) => words.join(' ')),
        fc.string({ unit: 'binary' }),
      ),
      (text) => {
        try {
          request(text);
        } catch (error) {
          expect(error).toBeInstanceOf(NearfarError);
        }
      },
    ),
    { numRuns: 500 },
  );
});
