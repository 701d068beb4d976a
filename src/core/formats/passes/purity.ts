import type { GraphNode } from '../graph/index.ts';
import { hasRule } from './shapes/index.ts';

const stateful = /^(Random|Multinomial|HashTable|MutableHashTable|Placeholder|TensorArray|TensorList|EmptyTensorList|Print|Dropout)/;

const controlFlow: ReadonlySet<string> = new Set([
  ...['_Arg', 'Const', 'Switch', 'Merge', 'Enter', 'Exit', 'NextIteration', 'LoopCond', 'NoOp', 'TruncatedNormal'],
  ...['LookupTableFind', 'LookupTableFindV2', 'LookupTableSize', 'LookupTableSizeV2'],
]);

/** Whether a node gives the same outputs for the same inputs and does nothing else; operators we do not know may do anything. */
export function isPure(node: GraphNode): boolean {
  return node.controls.length === 0 && hasRule(node.op) && !stateful.test(node.op) && !controlFlow.has(node.op);
}
