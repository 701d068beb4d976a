import { attribute, type Constant } from '../../graph/index.ts';
import type { GraphBuilder, Value } from '../builder.ts';
import { damaged, unsupported } from '../problems.ts';
import { reshaped, type Variables } from '../variables.ts';
import { inside, type LayerKind, type Lowering, own } from './layer-kind.ts';

// keras/src/layers/attention/.

/** What Keras takes from the scores of positions that are masked. */
const MASKED = 1e9;

export const attentionLayers: Readonly<Record<string, LayerKind>> = {
  MultiHeadAttention: {
    slots: ({ config }) => {
      const parts = ['query_dense', 'key_dense', 'value_dense', 'output_dense'];
      return parts.flatMap((part) => inside(`_${part}`, own('kernel', config.bool('use_bias', true) && 'bias')));
    },
    lower: (call) => multiHead(call),
  },
  Attention: {
    slots: ({ config }) =>
      own(config.bool('use_scale', false) && 'scale', config.string('score_mode', 'dot') === 'concat' && 'concat_score_weight'),
    lower: (call) => {
      const { builder: b, config, variables } = call;
      const mode = config.string('score_mode', 'dot');
      return attend(call, (query, key) => {
        if (mode === 'dot') {
          const scores = b.batchMatmul(query, key, { transposeB: true });
          return config.bool('use_scale', false) ? b.mul(scores, b.weight(variables.get('scale', 0), 'scale')) : scores;
        }
        const sum = b.add(b.expandDims(query, -2), b.expandDims(key, -3));
        const scaled = config.bool('use_scale', false) ? b.mul(sum, b.weight(variables.get('scale', 0), 'scale')) : sum;
        const total = b.reduce('Sum', b.unary('Tanh', scaled), [-1]);
        return b.mul(total, b.weight(variables.get('concat_score_weight', 0), 'concat_score_weight'));
      });
    },
  },
  AdditiveAttention: {
    slots: ({ config }) => own(config.bool('use_scale', true) && 'scale'),
    lower: (call) => {
      const { builder: b, config, variables } = call;
      return attend(call, (query, key) => {
        const sum = b.unary('Tanh', b.add(b.expandDims(query, -2), b.expandDims(key, -3)));
        return b.reduce('Sum', config.bool('use_scale', true) ? b.mul(sum, b.weight(variables.get('scale', 1), 'scale')) : sum, [-1]);
      });
    },
  },
};

function attend(call: Lowering, score: (query: Value, key: Value) => Value): readonly Value[] {
  const { builder: b, config, keywords } = call;
  const [query, value, key = value] = call.inputs;
  if (!query || !value || !key) throw damaged(`${config.where} needs a query and a value`);
  const masks = keywords.tensors('mask');
  const [queryMask = query.mask, valueMask = value.mask] = masks;
  const plain = score(query, key);
  const causal = config.bool('causal', false) || keywords.value('use_causal_mask') === true;
  const parts = [...(valueMask ? [b.expandDims(valueMask, -2)] : []), ...(causal ? [causalMask(b, query, value)] : [])];
  const scores =
    parts.length > 0
      ? withoutMasked(
          b,
          plain,
          parts.reduce((a, c) => b.binary('LogicalAnd', a, c)),
        )
      : plain;
  const weights = b.softmax(scores);
  const result = b.batchMatmul(weights, value);
  const output = queryMask ? b.mul(result, b.cast(b.expandDims(queryMask, -1), 'float32')) : result;
  return keywords.value('return_attention_scores') === true ? [output, weights] : [{ ...output, mask: queryMask }];
}

function multiHead(call: Lowering): readonly Value[] {
  const { builder: b, config, variables, keywords } = call;
  const [query, value = keywords.tensors('value')[0], given] = call.inputs;
  const key = given ?? keywords.tensors('key')[0] ?? value;
  if (!query || !value || !key) throw damaged(`${config.where} needs a query and a value`);
  if ([query, value, key].some(({ shape }) => shape.length !== 3)) throw unsupported(`${config.where} attends over several axes`);
  for (const name of ['use_gate', 'sliding_window', 'sliding_window_size']) config.refuse(name, [false]);
  if (config.get('attention_axes') !== undefined && config.ints('attention_axes', 1)[0] !== 1)
    throw unsupported(`${config.where} attends over other axes than the steps`);
  const heads = config.count('num_heads');
  const [q, k, v] = [
    project(b, query, variables.inside('_query_dense'), 'query'),
    project(b, key, variables.inside('_key_dense'), 'key'),
    project(b, value, variables.inside('_value_dense'), 'value'),
  ];
  if (q.shape[1] !== heads) throw damaged(`${config.where} has kernels of ${q.shape[1]} heads, expected ${heads}`);
  const scaled = b.mul(q, b.float(1 / Math.sqrt(config.count('key_dim'))));
  const plain = b.batchMatmul(scaled, k, { transposeB: true });
  const mask = headMask(call, query, value, key);
  const weights = b.softmax(mask ? withoutMasked(b, plain, mask) : plain);
  const mixed = b.transpose(b.batchMatmul(weights, v), [0, 2, 1, 3]);
  const output = projectOut(b, mixed, variables.inside('_output_dense'));
  return keywords.value('return_attention_scores') === true ? [output, weights] : [{ ...output, mask: query.mask }];
}

/** [batch, steps, n] to [batch, heads, steps, size]. */
function project(b: GraphBuilder, x: Value, variables: Variables, name: string): Value {
  return b.scoped(name, () => {
    const kernel = variables.get('kernel', 3);
    const [inner = 0, heads = 0, size = 0] = kernel.shape;
    const bias = variables.optional('bias');
    const flat = b.matmul(b.reshape(x, [-1, inner]), b.weight(reshaped(kernel, [inner, heads * size]), 'kernel'));
    const biased = b.bias(flat, bias && b.weight(reshaped(bias, [heads * size]), 'bias'));
    return b.transpose(b.reshape(biased, [...b.dims(x).slice(0, 2), heads, size]), [0, 2, 1, 3]);
  });
}

function projectOut(b: GraphBuilder, x: Value, variables: Variables): Value {
  return b.scoped('attention_output', () => {
    const kernel: Constant = variables.get('kernel', 3);
    const [heads = 0, size = 0, columns = 0] = kernel.shape;
    const bias = variables.optional('bias');
    const flat = b.matmul(b.reshape(x, [-1, heads * size]), b.weight(reshaped(kernel, [heads * size, columns]), 'kernel'));
    return b.reshape(b.bias(flat, bias && b.weight(bias, 'bias')), [...b.dims(x).slice(0, 2), columns]);
  });
}

/** [batch or 1, 1, steps of the query, steps of the key] */
function headMask({ builder: b, keywords }: Lowering, query: Value, value: Value, key: Value): Value | undefined {
  const [given] = keywords.tensors('attention_mask');
  const parts = [
    ...(query.mask ? [b.expandDims(query.mask, -1)] : []),
    ...(value.mask ? [b.expandDims(value.mask, -2)] : []),
    ...(key.mask && key.edge.node !== value.edge.node ? [b.expandDims(key.mask, -2)] : []),
    ...(keywords.value('use_causal_mask') === true ? [causalMask(b, query, value)] : []),
    ...(given ? [b.cast(given, 'bool')] : []),
  ];
  if (parts.length === 0) return undefined;
  const all = parts.reduce((a, c) => b.binary('LogicalAnd', a, c));
  return all.shape.length === 4 ? all : b.expandDims(all, 1);
}

function withoutMasked(b: GraphBuilder, scores: Value, mask: Value): Value {
  const penalty = b.mul(b.sub(b.float(1), b.cast(mask, 'float32')), b.float(MASKED));
  return b.sub(scores, penalty);
}

/** A step sees itself and those before it: [1, steps of the query, steps of the value]. */
function causalMask(b: GraphBuilder, query: Value, value: Value): Value {
  const range = (x: Value) => {
    const dim = b.dims(x)[1]!;
    const end = typeof dim === 'number' ? b.int(dim) : dim;
    return b.op('Range', [b.int(0), end, b.int(1)], { Tidx: attribute.type('int32') }, 'int32', [x.shape[1]!]);
  };
  const [rows, columns] = [b.expandDims(range(query), 1), b.expandDims(range(value), 0)];
  const shape = [query.shape[1]!, value.shape[1]!];
  return b.expandDims(b.op('GreaterEqual', [rows, columns], { T: attribute.type('int32') }, 'bool', shape), 0);
}
