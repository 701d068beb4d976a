/** The style of the page that `writeGraphPage` makes. */
export const pageStyle = `
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --surface: #ffffff; --raised: #ffffff; --text: #1b2430; --quiet: #566173; --line: #c3cad5; --edge: #97a1b1; --accent: #0b5fd0;
  --input: #1f7a4d; --output: #8a3ffc; --convolution: #0b5fd0; --matrix: #3b4cca; --normalization: #007d8a; --activation: #c4460d;
  --pooling: #6b7f00; --reduction: #8d6a00; --arithmetic: #a8326e; --shape: #64748b; --control: #b3261e; --text-kind: #7a5230; --group: #334155; --other: #94a3b8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #10151c; --surface: #171e28; --raised: #202936; --text: #e6ebf2; --quiet: #9dabbd; --line: #3a4657; --edge: #66748a; --accent: #6db0ff;
    --input: #4cc38a; --output: #b794ff; --convolution: #5aa9ff; --matrix: #8f9bff; --normalization: #39c5d3; --activation: #ff8f5a;
    --pooling: #b8cc3a; --reduction: #e0b23c; --arithmetic: #f27db5; --shape: #94a3b8; --control: #ff7a70; --text-kind: #d3a37a; --group: #cbd5e1; --other: #64748b;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none; }
body { margin: 0; height: 100vh; height: 100dvh; display: flex; flex-direction: column; font: 14px/1.45 system-ui, "Segoe UI", Roboto, sans-serif; color: var(--text); background: var(--page); }
header { padding: 10px 16px; border-bottom: 1px solid var(--line); background: var(--surface); }
h1 { margin: 0; font-size: 18px; overflow-wrap: anywhere; }
header p { margin: 2px 0 0; color: var(--quiet); overflow-wrap: anywhere; }
h2 { display: inline; margin: 0; font-size: 14px; }
h3 { margin: 10px 0 4px; font-size: 14px; overflow-wrap: anywhere; }
h4 { margin: 12px 0 4px; font-size: 13px; color: var(--quiet); font-weight: 600; }
main { flex: 1; min-height: 0; display: grid; grid-template-columns: minmax(0, 1fr) 360px; }
.drawing { position: relative; display: flex; flex-direction: column; min-width: 0; min-height: 0; }
.tools { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; padding: 8px 12px; border-bottom: 1px solid var(--line); background: var(--surface); }
.find { flex: 0 1 240px; }
input, select, button { font: inherit; color: inherit; background: var(--raised); border: 1px solid var(--line); border-radius: 6px; padding: 5px 10px; max-width: 100%; }
input { width: 100%; }
button { cursor: pointer; }
button:hover { border-color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
#found { color: var(--quiet); min-width: 5em; }
.zoom { display: inline-flex; gap: 4px; margin-left: auto; }
.zoom button { min-width: 34px; }
.summary { margin: 0; padding: 6px 12px; color: var(--quiet); background: var(--surface); border-bottom: 1px solid var(--line); }
svg.graph { flex: 1; width: 100%; min-height: 0; display: block; cursor: grab; touch-action: none; user-select: none; }
svg.graph[hidden] { display: none; }
svg.graph:active { cursor: grabbing; }
.line { fill: none; stroke: var(--edge); stroke-width: 1.4; }
.arrow { fill: var(--edge); }
.line.near { stroke: var(--accent); stroke-width: 2.6; }
.node { cursor: pointer; outline: none; }
.box { fill: var(--surface); stroke: var(--line); stroke-width: 1; }
.node:hover .box { stroke: var(--accent); }
.node:focus-visible .box { stroke: var(--accent); stroke-width: 2.5; }
.node.selected .box { fill: var(--raised); stroke: var(--accent); stroke-width: 2.5; }
.op { font-size: 13px; font-weight: 600; fill: var(--text); }
.detail { font-size: 11.5px; fill: var(--quiet); }
.searching .node:not(.found), .searching .line { opacity: 0.22; }
.searching .node.selected { opacity: 1; }
.stripe { fill: var(--kind); }
.swatch { background: var(--kind); }
.k-input { --kind: var(--input); } .k-output { --kind: var(--output); } .k-convolution { --kind: var(--convolution); } .k-matrix { --kind: var(--matrix); }
.k-normalization { --kind: var(--normalization); } .k-activation { --kind: var(--activation); } .k-pooling { --kind: var(--pooling); }
.k-reduction { --kind: var(--reduction); } .k-arithmetic { --kind: var(--arithmetic); } .k-shape { --kind: var(--shape); } .k-control { --kind: var(--control); }
.k-text { --kind: var(--text-kind); } .k-group { --kind: var(--group); } .k-other { --kind: var(--other); }
.k-input .box, .k-output .box { stroke: var(--kind); stroke-width: 1.6; }
.k-group .box { stroke-dasharray: 4 3; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 14px; margin: 0; padding: 7px 12px; list-style: none; color: var(--quiet); font-size: 12.5px; background: var(--surface); border-top: 1px solid var(--line); }
.legend li { display: flex; align-items: center; gap: 6px; }
.swatch { width: 11px; height: 11px; border-radius: 3px; }
aside { overflow-y: auto; padding: 4px 16px 16px; background: var(--surface); border-left: 1px solid var(--line); }
aside > section, details { padding: 10px 0; border-bottom: 1px solid var(--line); }
summary { cursor: pointer; }
.hint, .keys { color: var(--quiet); margin: 6px 0; }
.keys { font-size: 12.5px; padding-top: 6px; }
dl { margin: 6px 0; display: grid; grid-template-columns: minmax(70px, auto) minmax(0, 1fr); gap: 3px 12px; }
dt { color: var(--quiet); overflow-wrap: anywhere; max-width: 150px; }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
ul { margin: 4px 0; padding-left: 18px; overflow-wrap: anywhere; }
ul.links { list-style: none; padding: 0; }
ul.links li { margin: 3px 0; }
ul.links button { width: 100%; text-align: left; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; margin: 4px 0; }
td { padding: 3px 8px 3px 0; vertical-align: top; overflow-wrap: anywhere; }
td:first-child { color: var(--quiet); }
td button { border: 0; background: none; padding: 0; color: var(--accent); text-align: left; overflow-wrap: anywhere; }
td button:hover { text-decoration: underline; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
pre { overflow-x: auto; font-size: 12px; max-height: 320px; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (max-width: 820px) {
  body { height: auto; min-height: 100vh; }
  main { display: block; }
  .drawing { height: 68vh; height: 68dvh; }
  .legend { max-height: 64px; overflow-y: auto; }
  aside { border-left: 0; border-top: 1px solid var(--line); overflow: visible; }
}
@media (forced-colors: active) { .stripe, .swatch { forced-color-adjust: none; } }
`;
