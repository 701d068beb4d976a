import type { Sizes } from './header.ts';
import { type Cursor, damaged, type Source } from './source.ts';

const MAX_OBJECTS = 65_536;

/**
 * A text of variable length.
 * @param element Its length, the address of a global heap collection, its index there (III.E "Global Heap").
 */
export async function readLongString(source: Source, element: Cursor, sizes: Sizes): Promise<Uint8Array> {
  const length = element.uint(4);
  const address = element.uint(sizes.address);
  const index = element.uint(4);
  if (length === 0) return new Uint8Array(0);
  const head = await source.cursor(address, 8 + sizes.length);
  head.expect('GCOL');
  head.skip(4);
  const size = head.uint(sizes.length);
  const heap = await source.cursor(address, size);
  heap.skip(8 + sizes.length);
  for (let count = 0; count < MAX_OBJECTS && heap.left >= 8 + sizes.length; count++) {
    source.step();
    const found = heap.uint(2);
    heap.skip(6);
    const bytes = heap.uint(sizes.length);
    if (found === 0) break; // the free space
    if (found === index) {
      if (length > bytes) throw damaged(`a text of ${length} bytes in a heap object of ${bytes}`);
      return heap.take(length);
    }
    heap.skip(Math.ceil(bytes / 8) * 8);
  }
  throw damaged(`no object ${index} in the heap at ${address}`);
}
