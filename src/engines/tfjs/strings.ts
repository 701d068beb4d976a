import * as tf from '@tensorflow/tfjs-core';

/** The strings of a tensor of the CPU backend, as bytes. */
export function bytesOf(tensor: tf.Tensor): readonly Uint8Array[] {
  return tf.engine().readSync(tensor.dataId) as Uint8Array[]; // strings are kept as bytes
}

export function stringTensor(values: readonly Uint8Array[], shape: readonly number[]): tf.Tensor {
  return tf.tensor([...values], [...shape], 'string');
}

/**
 * Strings moved as they are: the kernels of TensorFlow.js that copy elements decode them as UTF-8, which loses bytes that are none. So
 * the numbers of the elements go the way of the strings. Tensors of other types are handed on as they are.
 * @param move From tensors of int32 instead of those of strings to such a tensor, or to several.
 */
export function moveStrings<T extends tf.Tensor | tf.Tensor[]>(tensors: readonly tf.Tensor[], move: (tensors: tf.Tensor[]) => T): T {
  if (!tensors.some(({ dtype }) => dtype === 'string')) return move([...tensors]);
  return tf.tidy(() => {
    const strings: Uint8Array[] = [];
    const numbered = tensors.map((tensor) => {
      if (tensor.dtype !== 'string') return tensor;
      const numbers = Int32Array.from({ length: tensor.size }, (_, index) => strings.length + index);
      for (const bytes of bytesOf(tensor)) strings.push(bytes);
      return tf.tensor(numbers, tensor.shape, 'int32');
    });
    const named = (moved: tf.Tensor) =>
      stringTensor(
        Array.from(tf.engine().readSync(moved.dataId) as Int32Array, (index) => strings[index]!),
        moved.shape,
      );
    const moved: tf.Tensor | tf.Tensor[] = move(numbered);
    return (Array.isArray(moved) ? moved.map(named) : named(moved)) as T; // as many as were moved
  });
}

/** Numbers of the strings, the same for the same bytes: to compare them without decoding. */
export function numberStrings(tensors: readonly tf.Tensor[]): tf.Tensor[] {
  const numbers = new Map<string, number>();
  const numberOf = (bytes: Uint8Array) => {
    const key = toLatin1(bytes);
    const number = numbers.get(key) ?? numbers.size;
    numbers.set(key, number);
    return number;
  };
  return tensors.map((tensor) => tf.tensor(Int32Array.from(bytesOf(tensor), numberOf), tensor.shape, 'int32'));
}

/** One character a byte, to compare and to show. */
export function toLatin1(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
