/**
 * What runs in the page that `writeGraphPage` makes: plain JavaScript, as the page has no build of its own. Every text of the model gets
 * into the page as text, never as markup.
 */
export const pageScript = `
'use strict';
const graphs = [...document.querySelectorAll('svg.graph')];
const data = JSON.parse(document.getElementById('data').textContent);
const panel = document.getElementById('node');
const search = document.getElementById('search');
const found = document.getElementById('found');
const choice = document.getElementById('graphs');
const MIN_SCALE = 0.02;
const MAX_SCALE = 4;
let current = 0;
const states = graphs.map((svg, index) => {
  const nodes = [...svg.querySelectorAll('.node')];
  const lines = [...svg.querySelectorAll('.line')];
  return { svg, view: svg.querySelector('.view'), nodes, lines, data: data[index], x: 0, y: 0, scale: 0, selected: -1 };
});
const state = () => states[current];

function apply(s) {
  s.view.setAttribute('transform', 'translate(' + s.x + ' ' + s.y + ') scale(' + s.scale + ')');
}

/** Wide graphs start readable at their top; the button shows all. */
function home(s) {
  const { width, height } = s.svg.getBoundingClientRect();
  s.scale = Math.max(0.4, Math.min(1, width / s.data.width));
  s.x = (width - s.data.width * s.scale) / 2;
  s.y = Math.max(0, (height - s.data.height * s.scale) / 2);
  const first = s.data.boxes[0];
  if (s.data.width * s.scale > width && first) s.x = width / 2 - (first[0] + first[2] / 2) * s.scale;
  apply(s);
}

function fit(s) {
  const { width, height } = s.svg.getBoundingClientRect();
  s.scale = Math.max(MIN_SCALE, Math.min(1, width / s.data.width, height / s.data.height));
  s.x = (width - s.data.width * s.scale) / 2;
  s.y = (height - s.data.height * s.scale) / 2;
  apply(s);
}

function zoom(s, factor, x, y) {
  const { width, height } = s.svg.getBoundingClientRect();
  const [cx, cy] = [x ?? width / 2, y ?? height / 2];
  const scale = Math.max(MIN_SCALE, Math.min(MAX_SCALE, s.scale * factor));
  s.x = cx - ((cx - s.x) * scale) / s.scale;
  s.y = cy - ((cy - s.y) * scale) / s.scale;
  s.scale = scale;
  apply(s);
}

function center(s, index) {
  const [x, y, w, h] = s.data.boxes[index];
  const { width, height } = s.svg.getBoundingClientRect();
  if (s.scale < 0.5) s.scale = 0.8;
  s.x = width / 2 - (x + w / 2) * s.scale;
  s.y = height / 2 - (y + h / 2) * s.scale;
  apply(s);
}

/** Moves the view only as far as it takes to see the node. */
function reveal(s, index) {
  const [x, y, w, h] = s.data.boxes[index];
  const { width, height } = s.svg.getBoundingClientRect();
  const margin = 24;
  const left = s.x + x * s.scale;
  const top = s.y + y * s.scale;
  if (left < margin) s.x += margin - left;
  else if (left + w * s.scale > width - margin) s.x -= left + w * s.scale - width + margin;
  if (top < margin) s.y += margin - top;
  else if (top + h * s.scale > height - margin) s.y -= top + h * s.scale - height + margin;
  apply(s);
}

const before = (s, index) => s.data.edges.filter(([, to]) => to === index).map(([from]) => from);
const after = (s, index) => s.data.edges.filter(([from]) => from === index).map(([, to]) => to);

function select(s, index, isFocused) {
  s.nodes[s.selected]?.classList.remove('selected');
  for (const line of s.svg.querySelectorAll('.near')) line.classList.remove('near');
  s.selected = index;
  if (index < 0) return describe(s);
  const node = s.nodes[index];
  node.classList.add('selected');
  for (const [position, [from, to]] of s.data.edges.entries()) if (from === index || to === index) s.lines[position].classList.add('near');
  for (const each of s.nodes) each.tabIndex = -1;
  node.tabIndex = 0;
  reveal(s, index);
  if (isFocused) node.focus({ preventScroll: true });
  describe(s);
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function describe(s) {
  panel.replaceChildren();
  if (s.selected < 0) {
    panel.append(element('p', 'Choose a node to see its attributes, shapes and weights.', 'hint'));
    return;
  }
  const facts = s.data.facts[s.selected];
  panel.append(element('h3', s.data.labels[s.selected]));
  const list = element('dl');
  for (const [label, value] of facts) list.append(element('dt', label), element('dd', value));
  panel.append(list);
  for (const [title, others] of [['reads from', before(s, s.selected)], ['is read by', after(s, s.selected)]]) {
    if (others.length === 0) continue;
    panel.append(element('h4', title));
    const items = element('ul', undefined, 'links');
    for (const other of others.slice(0, 40)) {
      const button = element('button', s.data.labels[other] + ' · ' + s.data.names[other]);
      button.type = 'button';
      button.addEventListener('click', () => {
        select(s, other, true);
        center(s, other);
      });
      const item = element('li');
      item.append(button);
      items.append(item);
    }
    if (others.length > 40) items.append(element('li', 'and ' + (others.length - 40) + ' more'));
    panel.append(items);
  }
}

/** The node to go to with an arrow key: along the lines up and down, to the nearest of the same height sideways. */
function neighbour(s, index, key) {
  const [x, y, w] = s.data.boxes[index];
  const middle = x + w / 2;
  const distance = (other) => Math.abs(s.data.boxes[other][0] + s.data.boxes[other][2] / 2 - middle);
  const nearest = (list) => list.reduce((best, other) => (best === undefined || distance(other) < distance(best) ? other : best), undefined);
  if (key === 'ArrowDown') return nearest(after(s, index));
  if (key === 'ArrowUp') return nearest(before(s, index));
  const side = key === 'ArrowRight' ? 1 : -1;
  const row = s.data.boxes.flatMap(([ox, oy, ow], other) => (Math.abs(oy - y) < 40 && (ox + ow / 2 - middle) * side > 1 ? [other] : []));
  return nearest(row);
}

for (const s of states) {
  const pointers = new Map();
  let moved = 0;
  s.svg.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    moved = 0;
  });
  s.svg.addEventListener('pointermove', (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    const { left, top } = s.svg.getBoundingClientRect();
    if (others.length === 0) {
      s.x += event.clientX - last.x;
      s.y += event.clientY - last.y;
      apply(s);
    } else {
      const other = others[0];
      const gap = (at) => Math.hypot(at.x - other.x, at.y - other.y) || 1;
      const now = { x: event.clientX, y: event.clientY };
      zoom(s, gap(now) / gap(last), (now.x + other.x) / 2 - left, (now.y + other.y) / 2 - top);
    }
    moved += Math.abs(event.clientX - last.x) + Math.abs(event.clientY - last.y);
    if (moved > 4 && !s.svg.hasPointerCapture(event.pointerId)) s.svg.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  const end = (event) => pointers.delete(event.pointerId);
  s.svg.addEventListener('pointerup', end);
  s.svg.addEventListener('pointercancel', end);
  s.svg.addEventListener('click', (event) => {
    if (moved > 4) return;
    const node = event.target.closest('.node');
    select(s, node ? s.nodes.indexOf(node) : -1, true);
  });
  s.svg.addEventListener('wheel', (event) => {
    event.preventDefault();
    const { left, top } = s.svg.getBoundingClientRect();
    const lines = event.deltaMode === 1 ? 16 : 1;
    if (event.ctrlKey || !event.shiftKey) zoom(s, Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0015)), event.clientX - left, event.clientY - top);
    else {
      s.x -= (event.deltaX || event.deltaY) * lines;
      apply(s);
    }
  }, { passive: false });
  s.svg.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const on = s.nodes.indexOf(event.target.closest('.node'));
    const zooms = { '+': 1.25, '=': 1.25, '-': 0.8 };
    if (event.key in zooms) zoom(s, zooms[event.key]);
    else if (event.key === '0') fit(s);
    else if (event.key === 'Escape') select(s, -1, false);
    else if ((event.key === 'Enter' || event.key === ' ') && on >= 0) select(s, on, true);
    else if (event.key.startsWith('Arrow')) {
      const next = on < 0 ? 0 : neighbour(s, on, event.key);
      if (next !== undefined && s.nodes[next]) select(s, next, true);
    } else return;
    event.preventDefault();
  });
}

function matches(s, text) {
  const wanted = text.trim().toLowerCase();
  if (wanted === '') return [];
  return s.nodes.flatMap((_, index) => {
    const facts = s.data.facts[index];
    const isIn = s.data.labels[index].toLowerCase().includes(wanted) || s.data.names[index].toLowerCase().includes(wanted);
    // A box that stands for many nodes tells their operators as facts.
    return isIn || facts.some(([label, value]) => (label === 'operator' ? value : s.data.groups[index] ? label : '').toLowerCase() === wanted) ? [index] : [];
  });
}

function find() {
  const s = state();
  const list = matches(s, search.value);
  const isSearch = search.value.trim() !== '';
  s.svg.classList.toggle('searching', isSearch);
  for (const [index, node] of s.nodes.entries()) node.classList.toggle('found', list.includes(index));
  found.textContent = isSearch ? list.length + ' found' : '';
  return list;
}

search.addEventListener('input', find);
search.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter') return;
  event.preventDefault();
  const s = state();
  const list = find();
  if (list.length === 0) return;
  const step = event.shiftKey ? -1 : 1;
  const at = list.indexOf(s.selected);
  const next = list[(at + step + list.length) % list.length];
  select(s, next, false);
  center(s, next);
});
for (const button of document.querySelectorAll('button[data-op]')) {
  button.addEventListener('click', () => {
    search.value = button.dataset.op;
    const s = state();
    const list = find();
    if (list.length > 0) center(s, list[0]);
  });
}
document.getElementById('in').addEventListener('click', () => zoom(state(), 1.25));
document.getElementById('out').addEventListener('click', () => zoom(state(), 0.8));
document.getElementById('fit').addEventListener('click', () => fit(state()));

function show(index) {
  current = index;
  for (const [position, s] of states.entries()) s.svg.toggleAttribute('hidden', position !== index);
  if (state().scale === 0) home(state());
  find();
  describe(state());
}
choice?.addEventListener('change', () => show(choice.selectedIndex));
show(0);
document.documentElement.dataset.ready = 'true';
`;
