import { Graph, layout } from '@dagrejs/dagre';
import type { Diagram, DiagramNode } from './diagram.ts';

/** Where everything of a diagram lies, in units of a CSS pixel. */
export interface LaidOut {
  readonly width: number;
  readonly height: number;
  readonly boxes: readonly Box[];
  readonly lines: readonly Line[];
}

export interface Box {
  readonly node: DiagramNode;
  /** Of the upper left corner. */
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface Line {
  readonly from: string;
  readonly to: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

export const BOX_HEIGHT = 46;
const MIN_WIDTH = 92;
const MAX_WIDTH = 260;
/** Of a letter, about: a drawing made in Node has no fonts to measure. */
const LETTER_WIDTH = 8.6;

/**
 * Lays a graph out in layers, from the inputs above to the outputs below.
 * @remarks dagre: Gansner et al., "A technique for drawing directed graphs", IEEE Transactions on Software Engineering 19(3), 1993.
 */
export function layOut({ nodes, edges }: Diagram): LaidOut {
  const graph = new Graph({ directed: true, multigraph: false });
  graph.setGraph({ rankdir: 'TB', nodesep: 26, ranksep: 34, edgesep: 12, marginx: 24, marginy: 24 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const node of nodes) graph.setNode(node.id, { width: widthOf(node), height: BOX_HEIGHT });
  for (const { from, to } of edges) if (graph.hasNode(from) && graph.hasNode(to)) graph.setEdge(from, to);
  layout(graph);
  const boxes = nodes.map((node): Box => {
    const { x = 0, y = 0, width, height } = graph.node(node.id);
    return { node, x: x - width / 2, y: y - height / 2, width, height };
  });
  const lines = graph.edges().map(({ v, w }): Line => ({ from: v, to: w, points: graph.edge(v, w).points ?? [] }));
  const { width = 0, height = 0 } = graph.graph();
  return { width: Math.max(width, 1), height: Math.max(height, 1), boxes, lines };
}

function widthOf({ op, detail }: DiagramNode): number {
  return Math.min(MAX_WIDTH, Math.max(MIN_WIDTH, Math.max(op.length, detail.length * 0.8) * LETTER_WIDTH + 30));
}

/** How many letters fit into a box. */
export function lettersIn(width: number): number {
  return Math.floor((width - 24) / LETTER_WIDTH);
}
