import { Cursor, damaged, type Source, unsupported } from './source.ts';

// Object headers: HDF5 File Format Specification 3.0, IV.A.1.

/** Sizes of addresses and lengths, said once by the superblock. */
export interface Sizes {
  readonly address: number;
  readonly length: number;
}

export interface Message {
  readonly type: number;
  readonly isShared: boolean;
  readonly body: Cursor;
}

export const messageTypes = {
  dataspace: 0x1,
  linkInfo: 0x2,
  datatype: 0x3,
  link: 0x6,
  layout: 0x8,
  filters: 0xb,
  attribute: 0xc,
  continuation: 0x10,
  symbolTable: 0x11,
  attributeInfo: 0x15,
} as const;

const MAX_MESSAGES = 1_000_000;

/** All messages of the object at an address, those of its continuations too. */
export async function readHeader(source: Source, address: number, sizes: Sizes): Promise<Message[]> {
  const start = await source.cursor(address, 16);
  return start.uint(1) === 1 ? readVersion1(source, address, sizes) : readVersion2(source, address, sizes);
}

async function readVersion1(source: Source, address: number, sizes: Sizes): Promise<Message[]> {
  const prefix = await source.cursor(address, 16);
  prefix.skip(8);
  const blocks = [await source.cursor(address + 16, prefix.uint(4))];
  const messages: Message[] = [];
  for (let block = blocks.shift(); block; block = blocks.shift()) {
    while (block.left >= 8) {
      source.step();
      const type = block.uint(2);
      const size = block.uint(2);
      const flags = block.uint(1);
      block.skip(3);
      const message = toMessage(block, type, size, flags);
      if (type === messageTypes.continuation) blocks.push(await continued(source, message.body, sizes, messages.length));
      else messages.push(message);
    }
  }
  return messages;
}

async function readVersion2(source: Source, address: number, sizes: Sizes): Promise<Message[]> {
  const prefix = await source.cursor(address, Math.min(64, source.byteLength - address));
  prefix.expect('OHDR');
  const version = prefix.uint(1);
  if (version !== 2) throw unsupported(`an object header of version ${version}`);
  const flags = prefix.uint(1);
  if (flags & 0x20) prefix.skip(16);
  if (flags & 0x10) prefix.skip(4);
  const size = prefix.uint(1 << (flags & 3));
  const orderBytes = flags & 4 ? 2 : 0;
  const blocks = [await source.cursor(address + prefix.position, size)];
  const messages: Message[] = [];
  for (let block = blocks.shift(); block; block = blocks.shift()) {
    // What is too short for a message is a gap.
    while (block.left >= 4 + orderBytes) {
      source.step();
      const type = block.uint(1);
      const length = block.uint(2);
      const messageFlags = block.uint(1);
      block.skip(orderBytes);
      const message = toMessage(block, type, length, messageFlags);
      if (type !== messageTypes.continuation) {
        messages.push(message);
        continue;
      }
      const next = await continued(source, message.body, sizes, messages.length);
      next.expect('OCHK');
      blocks.push(await source.cursor(next.at + 4, next.left - 4)); // a checksum ends it
    }
  }
  return messages;
}

function toMessage(block: Cursor, type: number, size: number, flags: number): Message {
  const at = block.at + block.position;
  const bytes = block.take(size);
  return { type, isShared: (flags & 2) !== 0, body: new Cursor(bytes, at) };
}

async function continued(source: Source, body: Cursor, sizes: Sizes, read: number): Promise<Cursor> {
  if (read > MAX_MESSAGES) throw damaged('an object header without end');
  const address = body.uint(sizes.address);
  return source.cursor(address, body.uint(sizes.length));
}
