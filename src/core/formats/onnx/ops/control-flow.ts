import type { DType } from '../../../tensor/index.ts';
import { attribute } from '../../graph/index.ts';
import { encodeScope } from '../encode-scope.ts';
import { createScope, type Scope, type Value } from '../graph-builder.ts';
import { type Converter, type Operator, refuse } from '../operator.ts';

/** A branch reads what it needs from the graph around it, so that `If` has no inputs but the condition. */
async function branch(node: Operator, name: string, inputs: readonly Value[]): Promise<{ scope: Scope; results: readonly Value[] }> {
  const scope = createScope();
  return { scope, results: await node.inline(scope, name, inputs) };
}

const ifElse: Converter = async (node) => {
  const inputs = node.inputs.slice(1);
  const condition = asCondition(node, 0);
  const yes = await branch(node, attribute.functionOf(node.node, 'then_branch'), inputs);
  const no = await branch(node, attribute.functionOf(node.node, 'else_branch'), inputs);
  setBranches(node, condition, yes, no);
};

type Branch = Awaited<ReturnType<typeof branch>>;

function setBranches(node: Operator, condition: string, yes: Branch, no: Branch): void {
  const held = yes.results.map(({ dtype }) => node.builder.computed(dtype));
  const names = node.emitWithGraphs(
    'If',
    [condition],
    {
      then_branch: encodeScope(node.builder, yes.scope, yes.results, held),
      else_branch: encodeScope(node.builder, no.scope, no.results, held),
    },
    held.length,
  );
  names.forEach((name, index) => {
    node.set(index, name, {
      dtype: yes.results[index]!.dtype,
      held: held[index]!,
      shape: node.outputShape(index) ?? yes.results[index]!.shape,
    });
  });
}

function asCondition(node: Operator, index: number): string {
  const value = node.value(index);
  if (value.shape !== undefined && value.shape.length > 0) refuse('decides by a tensor that is no scalar');
  return value.dtype === 'bool' ? node.in(index) : node.cast(node.in(index), 'bool');
}

const whileLoop: Converter = async (node) => {
  const { builder } = node;
  const cond = attribute.functionOf(node.node, 'cond');
  const body = attribute.functionOf(node.node, 'body');
  const held = node.inputs.map(({ dtype }) => builder.computed(dtype));
  const initial = node.inputs.map((value, index) => builder.form(value, 'plain', held[index]!));
  const [starts] = await node.inline(node.scope, cond, node.inputs);
  const first = builder.form(starts ?? refuse('has a condition without a result'), 'plain', 'bool');
  const scope = createScope();
  const step = builder.unique(`${node.node.name}/step`);
  const goes = builder.unique(`${node.node.name}/goes`);
  const variables = node.inputs.map((value, index) => {
    const name = builder.unique(`${node.node.name}/variable`);
    return builder.value(scope, name, { dtype: value.dtype, held: held[index]!, shape: variableShape(node, index) });
  });
  const results = await node.inline(scope, body, variables);
  const [again] = await node.inline(scope, cond, results);
  const condition = again ?? refuse('has a condition without a result');
  const all = encodeScope(builder, scope, [condition, ...results], ['bool', ...held]);
  const inputs = [
    { name: step, dtype: 'int64' as DType, shape: [] },
    { name: goes, dtype: 'bool' as DType, shape: [] },
    ...variables.map((value, index) => ({ name: builder.form(value, 'plain', held[index]!), dtype: held[index]!, shape: undefined })),
  ];
  const names = node.emitWithGraphs('Loop', ['', first, ...initial], { body: { ...all, inputs } }, held.length);
  names.forEach((name, index) => {
    node.set(index, name, { dtype: node.value(index).dtype, held: held[index]!, shape: variableShape(node, index) });
  });
};

/** What is true of a variable in every round: of a list, only its rank. */
function variableShape(node: Operator, index: number): readonly number[] | undefined {
  const inferred = node.outputShape(index);
  const { shape } = node.value(index);
  const isList = node.isHandle(index);
  return isList ? shape?.map(() => -1) : inferred;
}

const choose: Converter = async (node) => {
  const branches = node.strings('branches');
  const last = branches.length - 1;
  if (last < 0) refuse('has no branches');
  const index = node.in(0);
  const inputs = node.inputs.slice(1);
  // An index outside of the branches means the last one.
  const build = async (at: number, scope: Scope): Promise<readonly Value[]> => {
    if (at === last) return node.inline(scope, branches[at]!, inputs);
    const yes = await branch(node, branches[at]!, inputs);
    const no = createScope();
    const rest = await build(at + 1, no);
    const held = rest.map(({ dtype }) => node.builder.computed(dtype));
    const isIt = node.builder.emit(scope, { op: 'Equal', name: `${node.node.name}/is`, inputs: [index, node.scalar('int32', at)] })[0]!;
    const attributes = {
      then_branch: { graph: encodeScope(node.builder, yes.scope, yes.results, held) },
      else_branch: { graph: encodeScope(node.builder, no, rest, held) },
    };
    const outputs = node.builder.emit(scope, { op: 'If', name: `${node.node.name}/If`, inputs: [isIt], attributes, outputs: held.length });
    return outputs.map((name, position) =>
      node.builder.value(scope, name, { dtype: rest[position]!.dtype, held: held[position]!, shape: node.outputShape(position) }),
    );
  };
  for (const [position, value] of (await build(0, node.scope)).entries()) node.outputs.set(position, value);
};

export const controlFlow: Readonly<Record<string, Converter>> = {
  If: ifElse,
  StatelessIf: ifElse,
  While: whileLoop,
  StatelessWhile: whileLoop,
  Case: choose,
  StatelessCase: choose,
};
