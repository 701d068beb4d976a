import { createHash } from 'node:crypto';
import { type Diagram, type DiagramNode, formatBytes, formatShape, MAX_DRAWN_NODES, type NodeKind, nodeKinds } from './diagram.ts';
import { type LaidOut, layOut, lettersIn } from './diagram-layout.ts';
import { pageScript } from './graph-page-script.ts';
import { pageStyle } from './graph-page-style.ts';
import type { Inspection, SourceSummary, VersionSummary } from './inspect.ts';

export interface GraphPage {
  readonly title: string;
  /** Of a version, the variant whose graph is drawn. */
  readonly variant?: string | undefined;
  readonly inspection: Exclude<Inspection, { kind: 'model' }>;
  /** The graph, then its functions. */
  readonly diagrams: readonly Diagram[];
}

/**
 * Writes a drawing of a graph and what is known of the model as one HTML page: no network, no other file. Names come from the model
 * file and are nothing but text in it.
 */
export function writeGraphPage({ title, variant, inspection, diagrams }: GraphPage): string {
  const drawings = diagrams.map((diagram) => ({ diagram, laidOut: layOut(diagram) }));
  const kinds = new Set(diagrams.flatMap(({ nodes }) => nodes.map(({ kind }) => kind)));
  const policy = `default-src 'none'; style-src '${hashOf(pageStyle)}'; script-src '${hashOf(pageScript)}'`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${escapeHtml(title)}</title>
<style>${pageStyle}</style>
</head>
<body>
<header>
<h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(subtitle(inspection, variant))}</p>
</header>
<main>
<section class="drawing" aria-label="Graph">
<div class="tools">
${chooser(diagrams)}<label class="find"><span class="unseen">Find nodes by name or operator</span><input id="search" type="search" placeholder="Find nodes" autocomplete="off"></label>
<span id="found" role="status"></span>
<span class="zoom"><button type="button" id="out" aria-label="Zoom out">−</button><button type="button" id="in" aria-label="Zoom in">+</button><button type="button" id="fit">Show all</button></span>
</div>
${drawings.map(({ diagram, laidOut }, index) => drawing(diagram, laidOut, index)).join('\n')}
<ul class="legend" aria-label="Colours">${nodeKinds
    .filter((kind) => kinds.has(kind))
    .map((kind) => `<li><span class="swatch k-${kind}"></span>${kindNames[kind]}</li>`)
    .join('')}</ul>
</section>
<aside>
<section aria-label="Node"><h2>Node</h2><div id="node" aria-live="polite"></div></section>
${sections(inspection, variant, diagrams)}
<p class="keys">Drag to move, wheel or pinch to zoom. Keys in the graph: arrows go from node to node, + and − zoom, 0 shows all, Escape leaves the node.</p>
</aside>
</main>
<script type="application/json" id="data">${encodeData(drawings)}</script>
<script>${pageScript}</script>
</body>
</html>
`;
}

const kindNames: Readonly<Record<NodeKind, string>> = {
  input: 'input',
  output: 'output',
  convolution: 'convolution',
  matrix: 'matrix product',
  normalization: 'normalisation',
  activation: 'activation',
  pooling: 'pooling',
  reduction: 'reduction',
  arithmetic: 'arithmetic',
  shape: 'shape and layout',
  control: 'control flow',
  text: 'text and tables',
  group: 'several nodes',
  other: 'other',
};

function hashOf(content: string): string {
  return `sha256-${createHash('sha256').update(content).digest('base64')}`;
}

function subtitle(inspection: GraphPage['inspection'], variant: string | undefined): string {
  if (inspection.kind === 'source') {
    const { format, precision, bytes, weights } = inspection;
    return `${format} · ${precision} · ${formatBytes(bytes)} · ${weights.tensors} weights of ${formatBytes(weights.bytes)}`;
  }
  return `variant ${variant} · ${inspection.digest}`;
}

function chooser(diagrams: readonly Diagram[]): string {
  if (diagrams.length < 2) return '';
  const options = diagrams.map(({ name }) => `<option>${name === '' ? 'main graph' : escapeHtml(name)}</option>`);
  return `<label><span class="unseen">Graph or function</span><select id="graphs">${options.join('')}</select></label>`;
}

function drawing({ name, nodes, count }: Diagram, { boxes, lines }: LaidOut, index: number): string {
  const label = `${name === '' ? 'Graph' : `Function ${name}`} of ${count} nodes`;
  const paths = lines.map(({ points }) => `<path class="line" d="${curve(points)}" marker-end="url(#arrow${index})"/>`);
  const drawn = boxes.map(({ node, x, y, width, height }, position) => {
    const aria = `${node.op}${node.detail === '' ? '' : `, ${node.detail}`}`;
    const letters = lettersIn(width);
    const second =
      node.detail === '' ? '' : `<text class="detail" x="16" y="35">${escapeHtml(cut(node.detail, Math.floor(letters * 1.25)))}</text>`;
    return `<g class="node k-${node.kind}" role="button" tabindex="${position === 0 ? 0 : -1}" aria-label="${escapeHtml(aria)}" transform="translate(${round(x)} ${round(y)})"><title>${escapeHtml(titleOf(node))}</title><rect class="box" width="${round(width)}" height="${height}" rx="7"/><rect class="stripe" width="6" height="${height}" rx="3"/><text class="op" x="16" y="${node.detail === '' ? 28 : 19}">${escapeHtml(cut(node.op, letters))}</text>${second}</g>`;
  });
  const summary =
    nodes.length < count
      ? `<p class="summary">${count} nodes, drawn as ${nodes.length}: more than ${MAX_DRAWN_NODES} are put together, by the scopes of their names or by their order.</p>`
      : '';
  return `${index === 0 ? summary : ''}<svg class="graph" role="group" aria-label="${escapeHtml(label)}"${index > 0 ? ' hidden' : ''}><defs><marker id="arrow${index}" viewBox="0 0 8 8" refX="7" refY="4" markerUnits="userSpaceOnUse" markerWidth="10" markerHeight="10" orient="auto-start-reverse"><path class="arrow" d="M0 0.5 L8 4 L0 7.5 Z"/></marker></defs><g class="view">${paths.join('')}${drawn.join('')}</g></svg>`;
}

function titleOf({ facts, op }: DiagramNode): string {
  const name = facts[0];
  return name ? `${op}: ${name[1]}` : op;
}

/** A line through the points that turns softly. */
function curve(points: LaidOut['lines'][number]['points']): string {
  const [first, ...rest] = points;
  const last = rest.pop();
  if (!first || !last) return '';
  const parts = [`M${round(first.x)} ${round(first.y)}`];
  for (const [index, point] of rest.entries()) {
    const next = rest[index + 1] ?? last;
    parts.push(`Q${round(point.x)} ${round(point.y)} ${round((point.x + next.x) / 2)} ${round((point.y + next.y) / 2)}`);
  }
  parts.push(`L${round(last.x)} ${round(last.y)}`);
  return parts.join('');
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function cut(text: string, letters: number): string {
  return text.length <= letters ? text : `${text.slice(0, Math.max(1, letters - 1))}…`;
}

/** What the script needs, once per graph; `<` is escaped, so that no name ends the element it is in. */
function encodeData(drawings: readonly { readonly diagram: Diagram; readonly laidOut: LaidOut }[]): string {
  const data = drawings.map(({ laidOut: { width, height, boxes, lines } }) => {
    const position = new Map(boxes.map(({ node }, index) => [node.id, index]));
    return {
      width,
      height,
      boxes: boxes.map((box) => [box.x, box.y, box.width, box.height].map(round)),
      labels: boxes.map(({ node }) => node.op),
      names: boxes.map(({ node }) => node.facts[0]?.[1] ?? node.id),
      groups: boxes.map(({ node }) => node.kind === 'group'),
      facts: boxes.map(({ node }) => node.facts),
      edges: lines.map(({ from, to }) => [position.get(from), position.get(to)]),
    };
  });
  return JSON.stringify(data).replaceAll('<', '\\u003c');
}

function sections(inspection: GraphPage['inspection'], variant: string | undefined, diagrams: readonly Diagram[]): string {
  const drawn = inspection.kind === 'version' ? inspection.variants.find(({ id }) => id === variant) : inspection;
  return [
    section('Signatures', signaturesOf(inspection), true),
    ...(inspection.kind === 'source' ? [section('Signatures that cannot be run', unusableOf(inspection), true)] : []),
    section(`Operators (${Object.keys(drawn?.ops ?? {}).length})`, opsOf(drawn?.ops ?? {}), true),
    ...(inspection.kind === 'version' ? versionSections(inspection) : []),
    section('Functions', diagrams.length > 1 ? list(diagrams.slice(1).map(({ name, count }) => `${name}: ${count} nodes`)) : '', false),
  ].join('\n');
}

function section(heading: string, content: string, isOpen: boolean): string {
  if (content === '') return '';
  return `<details${isOpen ? ' open' : ''}><summary><h2>${escapeHtml(heading)}</h2></summary>${content}</details>`;
}

type Tensors = Readonly<Record<string, { readonly dtype: string; readonly shape?: readonly number[] | undefined }>>;

function signaturesOf({ signatures }: GraphPage['inspection']): string {
  const rows = (kind: string, tensors: Tensors) =>
    Object.entries(tensors).map(
      ([name, { dtype, shape }]) => `<tr><td>${kind}</td><td>${escapeHtml(name)}</td><td>${dtype} ${formatShape(shape)}</td></tr>`,
    );
  return Object.entries(signatures)
    .map(([name, { inputs, outputs }]: [string, { inputs: Tensors; outputs: Tensors }]) => {
      return `<h3>${escapeHtml(name)}</h3><table>${[...rows('in', inputs), ...rows('out', outputs)].join('')}</table>`;
    })
    .join('');
}

function unusableOf({ unusable }: SourceSummary): string {
  return Object.entries(unusable)
    .map(([name, reasons]) => `<h3>${escapeHtml(name)}</h3>${list(reasons)}`)
    .join('');
}

function opsOf(ops: Readonly<Record<string, number>>): string {
  const rows = Object.entries(ops).map(
    ([op, count]) =>
      `<tr><td><button type="button" data-op="${escapeHtml(op)}">${escapeHtml(op)}</button></td><td class="number">${count}</td></tr>`,
  );
  return rows.length > 0 ? `<table>${rows.join('')}</table>` : '';
}

function versionSections({ variants, provenance, tasks, golden, license, description }: VersionSummary): string[] {
  const rows = variants.map(
    ({ id, bytes, chunks, weights }) =>
      `<tr><td>${escapeHtml(id)}</td><td class="number">${formatBytes(bytes)}</td><td class="number">${chunks} chunks</td><td class="number">${weights.tensors} weights</td></tr>`,
  );
  const facts = [
    ...(description ? [description] : []),
    `licence: ${license ?? 'not said'}`,
    `tasks: ${tasks.join(', ') || 'none'}`,
    `golden examples: ${golden}`,
  ];
  return [
    section('Variants', `<table>${rows.join('')}</table>`, true),
    section('Version', list(facts), false),
    section('Provenance', provenance ? `<pre>${escapeHtml(JSON.stringify(provenance, null, 2))}</pre>` : '', false),
  ];
}

function list(items: readonly string[]): string {
  return items.length === 0 ? '' : `<ul>${items.map((item) => `<li>${escapeHtml(item)}</li>`).join('')}</ul>`;
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;').replaceAll("'", '&#39;');
}
