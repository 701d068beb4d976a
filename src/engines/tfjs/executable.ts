import { type GraphModel, loadGraphModelSync } from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import { NearfarError } from '../../core/index.ts';
import type { GraphNode, Topology } from './graph.ts';
import { withFunctionNodes } from './graph.ts';
import type { GraphModelFiles } from './model-files.ts';
import { functionsOf } from './split.ts';
import { selectWeights } from './weights.ts';

/** A GraphModel with its weights on the backend that was the current one. */
export interface Executable extends Disposable {
  /** Bytes of the weights' tensors. */
  readonly bytes: number;
  /** Runs on the current backend, without waiting. The caller disposes the results. */
  execute(inputs: Record<string, tf.Tensor>, outputs: readonly string[]): tf.Tensor[];
  /** The same for graphs with control flow and outputs of unknown size. */
  executeAsync(inputs: Record<string, tf.Tensor>, outputs: readonly string[]): Promise<tf.Tensor[]>;
}

/** The whole model as its files have it; when loading throws, no tensor stays behind. */
export function loadExecutable(artifacts: tf.io.ModelArtifacts): Executable {
  let loaded: GraphModel<tf.io.IOHandlerSync> | undefined;
  tf.tidy(() => {
    loaded = loadGraphModelSync(artifacts);
    for (const weight of Object.values(loaded.weights).flat()) tf.keep(weight);
  });
  if (loaded === undefined) throw new NearfarError('internal', 'tf.tidy did not run its function');
  const model = loaded;
  const weights = new Set(
    Object.values(model.weights)
      .flat()
      .map(({ id }) => id),
  );
  return {
    bytes: weightBytes(model),
    execute: (inputs, outputs) => ownTensors([model.execute(inputs, [...outputs])].flat(), weights, inputs),
    async executeAsync(inputs, outputs) {
      // The asynchronous executor leaves its intermediate tensors behind when it throws: a scope takes them along.
      tf.engine().startScope();
      let results: tf.Tensor[] = [];
      try {
        results = ownTensors([await model.executeAsync(inputs, [...outputs])].flat(), weights, inputs);
      } finally {
        tf.engine().endScope(results);
      }
      return results;
    },
    [Symbol.dispose]: () => model.dispose(),
  };
}

/**
 * Results that can be disposed: the executor hands out weights and inputs themselves where nothing computes an output, and one
 * tensor for two outputs that are the same.
 */
function ownTensors(results: readonly tf.Tensor[], weights: ReadonlySet<number>, inputs: Record<string, tf.Tensor>): tf.Tensor[] {
  const taken = new Set(Object.values(inputs).map(({ id }) => id));
  return results.map((tensor) => {
    const isTaken = weights.has(tensor.id) || taken.has(tensor.id);
    taken.add(tensor.id);
    return isTaken ? tf.clone(tensor) : tensor;
  });
}

/** Artifacts of a part of the graph, with the functions it calls and the weights it reads. */
export function artifactsOf(nodes: readonly GraphNode[], topology: Topology, { artifacts }: GraphModelFiles): tf.io.ModelArtifacts {
  const functions = new Map((topology.library?.function ?? []).map((body) => [body.signature?.name ?? '', body]));
  const called = functionsOf(nodes, functions);
  const constants = withFunctionNodes(nodes, functions).filter(({ op }) => op === 'Const');
  return {
    modelTopology: {
      ...topology,
      node: nodes,
      library: { function: [...functions].filter(([name]) => called.has(name)).map(([, body]) => body) },
    },
    ...selectWeights(artifacts, new Set(constants.map(({ name }) => name))),
  };
}

function weightBytes({ weights }: GraphModel<tf.io.IOHandlerSync>): number {
  return Object.values(weights)
    .flat()
    .reduce((sum, { size, dtype }) => sum + size * (dtype === 'string' ? 0 : tf.util.bytesPerElement(dtype)), 0);
}
