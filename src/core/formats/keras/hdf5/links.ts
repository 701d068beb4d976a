import { type Message, messageTypes, type Sizes } from './header.ts';
import { type Cursor, damaged, type Source, unsupported } from './source.ts';

const MAX_DEPTH = 32;

/** Members of a group by name: in a symbol table (III.A.1, III.B, III.D) or as link messages (IV.A.2.g). Soft links are left out. */
export async function readLinks(source: Source, messages: readonly Message[], sizes: Sizes, path: string): Promise<Map<string, number>> {
  const links = new Map<string, number>();
  for (const { type, body } of messages) {
    if (type === messageTypes.symbolTable) {
      const tree = body.uint(sizes.address);
      await readSymbolTable(source, tree, body.uint(sizes.address), sizes, links);
    } else if (type === messageTypes.link) {
      const link = parseLink(body, sizes);
      if (link) links.set(link.name, link.address);
    } else if (type === messageTypes.linkInfo) {
      body.skip(1);
      if (body.uint(1) & 1) body.skip(8);
      if (Number.isSafeInteger(body.uint(sizes.address)))
        throw unsupported(`links of ${path} in a fractal heap; save with h5py's default libver`);
    }
  }
  return links;
}

function parseLink(body: Cursor, sizes: Sizes): { name: string; address: number } | undefined {
  const version = body.uint(1);
  if (version !== 1) throw damaged(`a link of version ${version} at ${body.at}`);
  const flags = body.uint(1);
  const kind = flags & 8 ? body.uint(1) : 0;
  if (flags & 4) body.skip(8);
  if (flags & 0x10) body.skip(1);
  const length = body.uint(1 << (flags & 3));
  const name = body.text(length);
  return kind === 0 ? { name, address: body.uint(sizes.address) } : undefined;
}

async function readSymbolTable(source: Source, tree: number, heap: number, sizes: Sizes, links: Map<string, number>): Promise<void> {
  const header = await source.cursor(heap, 8 + 2 * sizes.length + sizes.address);
  header.expect('HEAP');
  header.skip(4);
  const size = header.uint(sizes.length);
  header.skip(sizes.length);
  const names = await source.cursor(header.uint(sizes.address), size);
  for (const leaf of await leavesOf(source, tree, { type: 0, keyBytes: sizes.length }, sizes)) {
    const head = await source.cursor(leaf.child, 8);
    head.expect('SNOD');
    head.skip(2);
    const count = head.uint(2);
    const entryBytes = 2 * sizes.address + 24;
    const entries = await source.cursor(leaf.child + 8, count * entryBytes);
    for (let index = 0; index < count; index++) {
      const nameAt = entries.uint(sizes.address);
      const address = entries.uint(sizes.address);
      const kind = entries.uint(4);
      entries.skip(20);
      if (kind === 2) continue; // a soft link
      if (nameAt >= names.bytes.byteLength) throw damaged(`a name outside the heap at ${heap}`);
      names.position = nameAt;
      links.set(names.text(names.left), address);
    }
  }
}

/** A leaf entry of a version 1 B-tree (III.A.1), with the key before it. */
export interface Leaf {
  readonly key: Cursor;
  readonly child: number;
}

export async function leavesOf(
  source: Source,
  root: number,
  { type, keyBytes }: { type: number; keyBytes: number },
  sizes: Sizes,
): Promise<Leaf[]> {
  const leaves: Leaf[] = [];
  const seen = new Set<number>();
  const visit = async (address: number, depth: number): Promise<void> => {
    if (seen.has(address) || depth > MAX_DEPTH) throw damaged(`a B-tree that meets itself at ${address}`);
    seen.add(address);
    const headBytes = 8 + 2 * sizes.address;
    const head = await source.cursor(address, headBytes);
    head.expect('TREE');
    if (head.uint(1) !== type) throw damaged(`a B-tree of another type at ${address}`);
    const level = head.uint(1);
    const count = head.uint(2);
    const body = await source.cursor(address + headBytes, count * (keyBytes + sizes.address));
    for (let index = 0; index < count; index++) {
      source.step();
      const at = body.position;
      const key = await source.cursor(address + headBytes + at, keyBytes);
      body.skip(keyBytes);
      const child = body.uint(sizes.address);
      if (level === 0) leaves.push({ key, child });
      else await visit(child, depth + 1);
    }
  };
  await visit(root, 0);
  return leaves;
}
