import { toBinary } from '@bufbuild/protobuf';
import { NearfarError } from '../errors.ts';
import { ExampleSchema } from './gen/tensorflow/core/example/example_pb.ts';
import type { Input } from './gen/tensorflow_serving/apis/input_pb.ts';

/**
 * The examples of a Classify, Regress or MultiInference request, each as the serialized tf.Example that the graph parses.
 * @throws {NearfarError} `invalid-argument` when there is none, with TensorFlow Serving's text.
 */
export function serializedExamples(input: Input | undefined): Uint8Array<ArrayBuffer>[] {
  const examples = input?.kind.value?.examples ?? [];
  if (examples.length === 0) throw new NearfarError('invalid-argument', 'Input is empty.');
  const context = input?.kind.case === 'exampleListWithContext' ? input.kind.value.context : undefined;
  return withContext(
    context && toBinary(ExampleSchema, context),
    examples.map((example) => toBinary(ExampleSchema, example)),
  );
}

/** Messages that lie one behind the other are one message, in which the features of the later one count: no context needs to be merged. */
export function withContext(
  context: Uint8Array<ArrayBuffer> | undefined,
  examples: readonly Uint8Array<ArrayBuffer>[],
): Uint8Array<ArrayBuffer>[] {
  return examples.map((example) => {
    if (!context) return example;
    const joined = new Uint8Array(context.length + example.length);
    joined.set(context);
    joined.set(example, context.length);
    return joined;
  });
}
