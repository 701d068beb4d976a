import { type Capacity, planCapacity } from './capacity.ts';
import type { PlanInputs } from './inputs.ts';
import { type Simulation, simulateFleet } from './simulate.ts';

export interface PlanOptions {
  readonly seed: number;
  readonly mostCalls: number;
}

export interface Plan {
  readonly inputs: PlanInputs;
  readonly formulas: Capacity;
  /** With the nodes of the formulas first, then with others until the target is kept; the last one counts. */
  readonly simulations: readonly Simulation[];
  /** What to run: undefined where no number of nodes keeps to the target. */
  readonly nodes: number | undefined;
  readonly isEnough: boolean;
  readonly verdict: string;
}

/** Numbers of nodes that are tried where the formulas' are too few, or more than are needed. */
const mostSimulations = 8;

/** Plans by formulas, and lets a simulated day confirm or correct them. */
export function makePlan(inputs: PlanInputs, { seed, mostCalls }: PlanOptions): Plan {
  const formulas = planCapacity(inputs);
  const { server } = inputs;
  const simulate = (nodes: number) => simulateFleet(inputs, { nodes, seed, mostCalls, balancing: 'two-choices' });
  const isEnough = ({ refused, peak }: Simulation) => refused === 0 && peak.p99Ms <= server.targetP99Ms && peak.utilisation < 1;
  const start = (formulas.nodes ?? formulas.nodesByUtilisation) + (server.nodes === undefined ? server.nodesDown : 0);
  const simulations = [simulate(start)];
  const last = () => simulations.at(-1)!; // there is one
  while (server.nodes === undefined && !isEnough(last()) && simulations.length < mostSimulations) {
    simulations.push(simulate(Math.ceil(last().nodes * 1.15 + 0.5)));
  }
  const found = isEnough(last());
  return {
    inputs,
    formulas,
    simulations,
    nodes: found || server.nodes !== undefined ? last().nodes : undefined,
    isEnough: found,
    verdict: judge(formulas, simulations, found, inputs),
  };
}

function judge(formulas: Capacity, simulations: readonly Simulation[], isEnough: boolean, { server }: PlanInputs): string {
  const last = simulations.at(-1);
  if (!last) return '';
  const nodes = last.nodes === 1 ? '1 node' : `${last.nodes} nodes`;
  const worst = `${formatMs(last.peak.p99Ms)} in the busiest hour${last.refused > 0 ? `, ${last.refused} calls refused` : ''}`;
  if (formulas.node.isOverloaded && !isEnough)
    return `overloaded: with ${nodes} workers are ${percent(formulas.node.utilisation)} busy at the peak by the formulas; simulated p99 ${worst}`;
  if (!isEnough) return `with ${nodes} the target of ${server.targetP99Ms} ms is missed: simulated p99 ${worst}`;
  if (simulations.length === 1) return `the simulation confirms ${nodes}: p99 ${worst}`;
  return `the simulation corrects ${simulations[0]?.nodes} to ${nodes}: p99 ${worst}`;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function formatMs(ms: number): string {
  return `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
}
