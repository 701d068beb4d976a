import type { DType } from '../../../tensor/index.ts';
import type { Operator } from '../operator.ts';
import { refuse } from '../operator.ts';

/** An activation by the name of its TensorFlow operator, on a tensor of a dtype. */
export function activate(node: Operator, kind: string, input: string, dtype: DType): string {
  const scalar = (value: number) => node.scalar(dtype, value);
  const simple = (op: string, attributes: { readonly [name: string]: { readonly float: number } } = {}) =>
    node.emitTyped(op, [input], { dtype, attributes });
  switch (kind) {
    case 'Relu':
    case 'Elu':
    case 'Selu':
    case 'Tanh':
    case 'Sigmoid':
    case 'Softplus':
    case 'Softsign':
      return simple(kind);
    case 'Relu6':
      return node.emitTyped('Clip', [input, scalar(0), scalar(6)], { dtype });
    case 'LeakyRelu':
      return simple('LeakyRelu', { alpha: { float: node.number(node.node.op === 'LeakyRelu' ? 'alpha' : 'leakyrelu_alpha', 0.2) } });
    case 'GeluExact': {
      const erf = node.emit('Erf', [node.emit('Mul', [input, scalar(Math.SQRT1_2)])]);
      return halfTimesOnePlus(node, input, erf, dtype);
    }
    case 'GeluApproximate': {
      const cube = node.emit('Mul', [node.emit('Mul', [input, input]), input]);
      const inner = node.emit('Add', [input, node.emit('Mul', [cube, scalar(0.044715)])]);
      const tanh = node.emit('Tanh', [node.emit('Mul', [inner, scalar(Math.sqrt(2 / Math.PI))])]);
      return halfTimesOnePlus(node, input, tanh, dtype);
    }
    default:
      return refuse(`has the activation ${kind}`);
  }
}

function halfTimesOnePlus(node: Operator, input: string, gate: string, dtype: DType): string {
  const half = node.emit('Mul', [input, node.scalar(dtype, 0.5)]);
  return node.emit('Mul', [half, node.emit('Add', [gate, node.scalar(dtype, 1)])]);
}
