import { inflateSync } from 'fflate/browser';
import { NearfarError } from '../../errors.ts';
import type { ModelFile } from '../model-folder.ts';

// ZIP archives (APPNOTE.TXT 6.3.10), read by range: stored members are windows of the archive, deflated ones are inflated whole.

interface Member {
  readonly name: string;
  readonly method: number;
  readonly crc: number;
  readonly stored: number;
  readonly byteLength: number;
  readonly header: number;
}

const LOCAL_HEADER = 0x04034b50;
const CENTRAL_HEADER = 0x02014b50;
const END_HEADER = 0x06054b50;
const LOCAL_BYTES = 30;
const CENTRAL_BYTES = 46;
const END_BYTES = 22;
const MAX_COMMENT_BYTES = 65_535;
/** A deflated member must be in memory at once. */
const MAX_INFLATED_BYTES = 2 ** 31;
const MAX_DEFLATE_RATIO = 1032;
const ZIP64 = 0xffff_ffff;

/** Whether bytes begin as a ZIP archive with members does. */
export function isZip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 3 && bytes[3] === 4;
}

/**
 * The members of an archive by name. Nothing is written anywhere, so their names need no care.
 * @throws {NearfarError} `invalid-argument` when it is damaged; `unsupported` for ZIP64 and encryption.
 */
export async function openZip(file: ModelFile): Promise<ReadonlyMap<string, ZipMember>> {
  const tailStart = Math.max(0, file.byteLength - END_BYTES - MAX_COMMENT_BYTES);
  const tail = viewOf(await file.read(tailStart, file.byteLength));
  const end = findEnd(tail);
  const count = tail.getUint16(end + 10, true);
  const size = tail.getUint32(end + 12, true);
  const start = tail.getUint32(end + 16, true);
  if (count === 0xffff || size === ZIP64 || start === ZIP64) throw unsupported('an archive in ZIP64 form');
  if (start + size > tailStart + end) throw damaged('its directory lies outside');
  const members = parseDirectory(viewOf(await file.read(start, start + size)), count);
  return new Map(members.map((member) => [member.name, new ZipMember(file, member)]));
}

export class ZipMember {
  readonly byteLength: number;
  readonly #file: ModelFile;
  readonly #member: Member;

  constructor(file: ModelFile, member: Member) {
    this.#file = file;
    this.#member = member;
    this.byteLength = member.byteLength;
  }

  /**
   * The whole content.
   * @throws {NearfarError} `integrity-mismatch` when its CRC-32 is another one.
   */
  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    const { name, method, crc, stored, byteLength } = this.#member;
    const start = await this.#start();
    const raw = await this.#file.read(start, start + stored);
    const bytes = method === 0 ? raw : inflate(raw, byteLength, name);
    if (crc32(bytes) !== crc) {
      throw new NearfarError('integrity-mismatch', `${name} of the archive has another CRC-32 than its directory says`, {
        details: { name },
      });
    }
    return bytes;
  }

  /** Access by range; what is stored plainly is not read here. */
  async open(): Promise<ModelFile> {
    const { method, byteLength } = this.#member;
    if (method === 0) {
      const start = await this.#start();
      return windowOf(byteLength, (from, to) => this.#file.read(start + from, start + to));
    }
    const bytes = await this.bytes();
    return windowOf(byteLength, async (from, to) => bytes.slice(from, to));
  }

  /** Where the content begins: the local header has a length of its own. */
  async #start(): Promise<number> {
    const { name, method, stored, byteLength, header } = this.#member;
    if (method !== 0 && method !== 8) throw unsupported(`${name} is compressed with method ${method}`);
    const isPlausible =
      method === 0 ? stored === byteLength : byteLength <= MAX_DEFLATE_RATIO * stored + 64 && byteLength <= MAX_INFLATED_BYTES;
    if (!isPlausible) throw damaged(`${name} claims ${byteLength} bytes in ${stored}`);
    if (header + LOCAL_BYTES > this.#file.byteLength) throw damaged(`${name} lies outside`);
    const local = viewOf(await this.#file.read(header, header + LOCAL_BYTES));
    if (local.getUint32(0, true) !== LOCAL_HEADER) throw damaged(`${name} has no header`);
    if (local.getUint16(6, true) & 1) throw unsupported(`${name} is encrypted`);
    const start = header + LOCAL_BYTES + local.getUint16(26, true) + local.getUint16(28, true);
    if (start + stored > this.#file.byteLength) throw damaged(`${name} ends outside`);
    return start;
  }
}

function findEnd(tail: DataView): number {
  for (let at = tail.byteLength - END_BYTES; at >= 0; at--) {
    if (tail.getUint32(at, true) === END_HEADER && at + END_BYTES + tail.getUint16(at + 20, true) === tail.byteLength) return at;
  }
  throw damaged('it has no end record');
}

function parseDirectory(view: DataView, count: number): Member[] {
  const members: Member[] = [];
  let at = 0;
  for (let index = 0; index < count; index++) {
    if (at + CENTRAL_BYTES > view.byteLength || view.getUint32(at, true) !== CENTRAL_HEADER)
      throw damaged(`entry ${index} of its directory`);
    const nameBytes = view.getUint16(at + 28, true);
    const rest = view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
    if (at + CENTRAL_BYTES + nameBytes + rest > view.byteLength) throw damaged(`entry ${index} of its directory is cut`);
    const member = {
      name: new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + at + CENTRAL_BYTES, nameBytes)),
      method: view.getUint16(at + 10, true),
      crc: view.getUint32(at + 16, true),
      stored: view.getUint32(at + 20, true),
      byteLength: view.getUint32(at + 24, true),
      header: view.getUint32(at + 42, true),
    };
    if (member.stored === ZIP64 || member.byteLength === ZIP64 || member.header === ZIP64)
      throw unsupported(`${member.name} in ZIP64 form`);
    members.push(member);
    at += CENTRAL_BYTES + nameBytes + rest;
  }
  return members;
}

function inflate(raw: Uint8Array, byteLength: number, name: string): Uint8Array<ArrayBuffer> {
  try {
    const bytes = inflateSync(raw, { out: new Uint8Array(byteLength + 1) });
    if (bytes.byteLength === byteLength) return new Uint8Array(bytes.buffer, bytes.byteOffset, byteLength) as Uint8Array<ArrayBuffer>; // what `out` is
  } catch (cause) {
    throw damaged(`${name} does not inflate`, cause);
  }
  throw damaged(`${name} inflates to another length than ${byteLength}`);
}

function windowOf(byteLength: number, read: (from: number, to: number) => Promise<Uint8Array<ArrayBuffer>>): ModelFile {
  return {
    byteLength,
    read: async (from, to) => {
      if (from < 0 || to < from || to > byteLength) throw damaged(`bytes ${from} to ${to} of ${byteLength}`);
      return read(from, to);
    },
  };
}

const crcTable = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** CRC-32 of ISO 3309, as ZIP uses it. */
function crc32(bytes: Uint8Array): number {
  let value = 0xffff_ffff;
  for (const byte of bytes) value = crcTable[(value ^ byte) & 255]! ^ (value >>> 8);
  return (value ^ 0xffff_ffff) >>> 0;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function damaged(message: string, cause?: unknown): NearfarError {
  return new NearfarError('invalid-argument', `not a sound ZIP archive: ${message}`, { cause, details: { format: 'zip' } });
}

function unsupported(message: string): NearfarError {
  return new NearfarError('unsupported', `ZIP: ${message}`, { details: { format: 'zip' } });
}
