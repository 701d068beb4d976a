import * as tf from '@tensorflow/tfjs-core';
import { NearfarError } from '../../core/index.ts';

/**
 * Einsum of one or two tensors by transposing and multiplying matrices. TensorFlow.js has no kernel for it on wasm, and on
 * the others it holds every product of two elements before it sums them.
 * @param equation As TensorFlow has it, with "->"; a label may not be twice in one term.
 * @throws {NearfarError} `unsupported` for another form; `shape-mismatch` when it does not fit the inputs.
 */
export function einsum(equation: string, inputs: readonly tf.Tensor[]): tf.Tensor {
  const [left = '', result = ''] = nameEllipsis(equation.replace(/\s/g, ''), inputs).split('->');
  const terms = left.split(',');
  if (!equation.includes('->') || /[^\p{L},]/u.test(left + result)) throw unsupported(equation, 'it has no "->" or odd labels');
  if (terms.length !== inputs.length || inputs.length > 2) throw unsupported(equation, `of ${inputs.length} tensors: one or two`);
  for (const [index, term] of terms.entries()) {
    if (new Set(term).size !== term.length) throw unsupported(equation, 'a label is twice in one term');
    if (term.length !== inputs[index]!.rank) throw misfit(equation, `does not fit the shape [${inputs[index]!.shape}]`);
  }
  const sizes = new Map<string, number>();
  for (const [index, term] of terms.entries()) {
    for (const [axis, label] of [...term].entries()) {
      const size = inputs[index]!.shape[axis]!;
      if ((sizes.get(label) ?? size) !== size) throw misfit(equation, `has the label ${label} for ${sizes.get(label)} and ${size}`);
      sizes.set(label, size);
    }
  }
  if (inputs.length === 1) return transposeTo(sumOut(inputs[0]!, terms[0]!, result), keep(terms[0]!, result), result);

  const [a = '', b = ''] = terms;
  const x = sumOut(inputs[0]!, a, b + result);
  const y = sumOut(inputs[1]!, b, a + result);
  const [inX, inY] = [keep(a, b + result), keep(b, a + result)];
  const batch = keep(keep(inX, inY), result);
  const summed = [...inX].filter((label) => inY.includes(label) && !result.includes(label)).join('');
  const rows = [...inX].filter((label) => !inY.includes(label)).join('');
  const columns = [...inY].filter((label) => !inX.includes(label)).join('');
  const count = (labels: string) => [...labels].reduce((product, label) => product * sizes.get(label)!, 1);
  const matrices = tf.matMul(
    tf.reshape(transposeTo(x, inX, batch + rows + summed), [count(batch), count(rows), count(summed)]),
    tf.reshape(transposeTo(y, inY, batch + summed + columns), [count(batch), count(summed), count(columns)]),
  );
  const order = batch + rows + columns;
  return transposeTo(
    tf.reshape(
      matrices,
      [...order].map((label) => sizes.get(label)!),
    ),
    order,
    result,
  );
}

function unsupported(equation: string, why: string): NearfarError {
  return new NearfarError('unsupported', `Einsum ${equation} is not supported: ${why}`, { details: { equation } });
}

function misfit(equation: string, why: string): NearfarError {
  return new NearfarError('shape-mismatch', `Einsum ${equation} ${why}`, { details: { equation } });
}

/** Labels of their own for the axes that an ellipsis stands for, which all terms that have one must share. */
function nameEllipsis(equation: string, inputs: readonly tf.Tensor[]): string {
  if (!equation.includes('...')) return equation;
  const [left = '', result = ''] = equation.split('->');
  const terms = left.split(',');
  const ranks = terms.flatMap((term, index) => (term.includes('...') ? [(inputs[index]?.rank ?? 0) - (term.length - 3)] : []));
  if (ranks.some((rank) => rank !== ranks[0] || rank < 0)) throw unsupported(equation, '"..." stands for different axes');
  const labels = 'αβγδεζηθ'.slice(0, ranks[0]);
  return [terms.map((term) => term.replace('...', labels)).join(','), result.replace('...', labels)].join('->');
}

function keep(term: string, wanted: string): string {
  return [...term].filter((label) => wanted.includes(label)).join('');
}

/** The sum over the labels that nothing else has. */
function sumOut(x: tf.Tensor, term: string, wanted: string): tf.Tensor {
  const axes = [...term].flatMap((label, axis) => (wanted.includes(label) ? [] : [axis]));
  return axes.length === 0 ? x : tf.sum(x, axes);
}

function transposeTo(x: tf.Tensor, from: string, to: string): tf.Tensor {
  return from === to
    ? tf.clone(x)
    : tf.transpose(
        x,
        [...to].map((label) => from.indexOf(label)),
      );
}
