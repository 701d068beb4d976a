import * as tf from '@tensorflow/tfjs-core';

/** The strings of a tensor of the CPU backend, as bytes. */
export function bytesOf(tensor: tf.Tensor): readonly Uint8Array[] {
  return tf.engine().readSync(tensor.dataId) as Uint8Array[]; // strings are kept as bytes
}

export function stringTensor(values: readonly Uint8Array[], shape: readonly number[]): tf.Tensor {
  return tf.tensor([...values], [...shape], 'string');
}

/** One character a byte, to compare and to show. */
export function toLatin1(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
