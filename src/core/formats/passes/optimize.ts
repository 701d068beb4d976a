import type { Attribute, GraphFunction, ModelGraph, Nodes } from '../graph/index.ts';
import { DerivedConstants } from './derived-constants.ts';
import { foldConstants } from './fold-constants.ts';
import { foldScales } from './fold-scales.ts';
import { fuseLayers } from './fuse-layers.ts';
import { joinPartitionedLookups } from './join-partitioned-lookups.ts';
import { removeIdentities } from './remove-identities.ts';
import { rewriteOperators } from './rewrite-operators.ts';
import { applyPass, type ScopePass, withoutDeadNodes } from './scope.ts';
import { inferShapes } from './shapes/index.ts';
import { shareSubexpressions } from './share-subexpressions.ts';
import { simplifyActivations } from './simplify-activations.ts';

export interface OptimizeOptions {
  /** `none`: only the rewrites that right answers need. @default 'all' */
  readonly passes?: 'all' | 'none';
}

/** Rounds of cleaning up; each finds what the one before made possible, and few models need more than three. */
const MAX_ROUNDS = 8;

/**
 * Makes a graph smaller and faster without changing its answers (but for rounding): removes what does nothing, shares what is computed
 * twice, computes constants, folds scales and batch normalisation into weights and fuses layers with bias and activation.
 * @returns A new graph with the same signatures; placeholders keep their names, outputs may come from other edges. Weights that change
 * become constants that are computed when they are read. The same graph gives the same result on every machine.
 */
export async function optimize(model: ModelGraph, { passes = 'all' }: OptimizeOptions = {}): Promise<ModelGraph> {
  const derived = new DerivedConstants();
  const rewritten = await apply(model, [rewriteOperators, joinPartitionedLookups(derived), withoutDeadNodes]);
  if (passes === 'none') return withoutDeadFunctions(rewritten);
  let result = await cleanUp(rewritten, derived);
  result = await apply(result, [simplifyActivations, foldScales(derived)]);
  result = await cleanUp(result, derived);
  result = await apply(result, [fuseLayers, shareSubexpressions(derived)]);
  return withoutDeadFunctions(result);
}

async function cleanUp(model: ModelGraph, derived: DerivedConstants): Promise<ModelGraph> {
  let result = model;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const before = result;
    result = withoutDeadFunctions(
      await apply(result, [removeIdentities, foldConstants(derived), shareSubexpressions(derived), withoutDeadNodes]),
    );
    if (result === before) break;
  }
  return result;
}

/** What was inferred at the start stays true: a pass may replace a node, but not by one of another shape or type under the same name. */
async function apply(model: ModelGraph, passes: readonly ScopePass[]): Promise<ModelGraph> {
  const shapes = await inferShapes(model);
  let result = model;
  for (const pass of passes) result = await applyPass(result, pass, shapes);
  return result;
}

function withoutDeadFunctions(model: ModelGraph): ModelGraph {
  const live = new Map<string, GraphFunction>();
  const open = namesIn(model.nodes);
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const body = model.functions.get(name);
    if (!body || live.has(name)) continue;
    live.set(name, body);
    open.push(...namesIn(body.nodes));
  }
  if (live.size === model.functions.size) return model;
  return { ...model, functions: new Map([...model.functions].filter(([name]) => live.has(name))) };
}

function namesIn(nodes: Nodes): string[] {
  const names: string[] = [];
  const collect = (value: Attribute): void => {
    if (value.kind === 'function') names.push(value.value);
    else if (value.kind === 'list') value.value.forEach(collect);
  };
  for (const node of nodes.values()) Object.values(node.attributes).forEach(collect);
  return names;
}
