import { type AnyTensor, createTensor, type DType, dataFromBytes, elementCount } from '../../../tensor/index.ts';
import { openDataset, readDataset, type StoredDataset } from './dataset.ts';
import { type Dataspace, type Datatype, readDataspace, readDatatype } from './datatype.ts';
import { type Message, messageTypes, readHeader, type Sizes } from './header.ts';
import { readLongString } from './heap.ts';
import { readLinks } from './links.ts';
import { Cursor, damaged, type Source, textOf, unsupported } from './source.ts';

/** An attribute's value: texts, or one tensor of numbers. */
export type AttributeValue =
  | { readonly kind: 'text'; readonly value: readonly string[] }
  | { readonly kind: 'number'; readonly value: AnyTensor };

/** A dataset, read when it is asked for. */
export interface Hdf5Dataset {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly byteLength: number;
  read(): Promise<AnyTensor>;
}

/** A group or a dataset of the file. */
export class Hdf5Object {
  readonly path: string;
  readonly #source: Source;
  readonly #sizes: Sizes;
  readonly #address: number;
  #messages: Promise<Message[]> | undefined;
  #links: Promise<ReadonlyMap<string, number>> | undefined;

  constructor(source: Source, sizes: Sizes, address: number, path: string) {
    this.#source = source;
    this.#sizes = sizes;
    this.#address = address;
    this.path = path;
  }

  /** Names of the members, sorted; none of a dataset. */
  async names(): Promise<string[]> {
    return [...(await this.#members()).keys()].sort();
  }

  /** A member by its path with forward slashes; undefined when there is none. */
  async find(path: string): Promise<Hdf5Object | undefined> {
    let object: Hdf5Object = this;
    for (const name of path.split('/')) {
      if (name === '') continue;
      const address = (await object.#members()).get(name);
      if (address === undefined) return undefined;
      object = new Hdf5Object(this.#source, this.#sizes, address, `${object.path}/${name}`);
    }
    return object;
  }

  /** @returns Undefined when there is no such attribute, or it is empty. */
  async attribute(name: string): Promise<AttributeValue | undefined> {
    for (const message of await this.#header()) {
      if (message.type === messageTypes.attributeInfo) assertCompact(message.body, this.#sizes, this.path);
      if (message.type !== messageTypes.attribute) continue;
      const attribute = parseAttribute(message.body, this.#sizes);
      if (attribute.name === name) return this.#valueOf(attribute);
    }
    return undefined;
  }

  /** @throws {NearfarError} `invalid-argument` when this is no dataset. */
  async dataset(): Promise<Hdf5Dataset> {
    const stored = openDataset(await this.#header(), this.#sizes, this.path);
    const { dtype, shape, byteLength } = stored;
    return { dtype, shape, byteLength, read: () => this.#read(stored) };
  }

  async #read(stored: StoredDataset): Promise<AnyTensor> {
    const bytes = await readDataset(this.#source, stored, this.#sizes);
    return createTensor(stored.dtype, stored.shape, dataFromBytes(stored.dtype, bytes)) as AnyTensor; // the data's array is that of the dtype
  }

  async #valueOf({ datatype, shape, data }: ParsedAttribute): Promise<AttributeValue | undefined> {
    if (shape === undefined) return undefined;
    const count = elementCount(shape);
    if (!Number.isSafeInteger(count) || count * datatype.size > data.left)
      throw damaged(`an attribute of shape [${shape}] in ${this.path}`);
    if (datatype.kind === 'number') {
      const { dtype, size } = datatype;
      const value = createTensor(dtype, shape, dataFromBytes(dtype, data.take(count * size))) as AnyTensor; // as above
      return { kind: 'number', value };
    }
    const texts: string[] = [];
    for (let index = 0; index < count; index++) {
      this.#source.step();
      const element = new Cursor(data.take(datatype.size), data.at);
      texts.push(datatype.kind === 'string' ? textOf(element.bytes) : textOf(await readLongString(this.#source, element, this.#sizes)));
    }
    return { kind: 'text', value: texts };
  }

  #header(): Promise<Message[]> {
    this.#messages ??= readHeader(this.#source, this.#address, this.#sizes);
    // Bodies are cursors: each reader starts anew.
    return this.#messages.then((messages) => messages.map(({ body, ...rest }) => ({ ...rest, body: new Cursor(body.bytes, body.at) })));
  }

  #members(): Promise<ReadonlyMap<string, number>> {
    this.#links ??= this.#header().then((messages) => readLinks(this.#source, messages, this.#sizes, this.path));
    return this.#links;
  }
}

interface ParsedAttribute {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: Dataspace;
  readonly data: Cursor;
}

/** IV.A.2.m "The Attribute Message". */
function parseAttribute(body: Cursor, sizes: Sizes): ParsedAttribute {
  const version = body.uint(1);
  if (version < 1 || version > 3) throw damaged(`an attribute of version ${version} at ${body.at}`);
  const flags = body.uint(1);
  if (version > 1 && flags & 3) throw unsupported('attributes with a type shared between objects');
  const nameSize = body.uint(2);
  const typeSize = body.uint(2);
  const spaceSize = body.uint(2);
  if (version === 3) body.skip(1);
  const padded = (size: number) => {
    const start = body.position;
    const bytes = body.take(size);
    if (version === 1) body.skip(Math.min((8 - (size % 8)) % 8, body.left));
    return new Cursor(bytes, body.at + start);
  };
  const name = padded(nameSize).text(nameSize);
  const type = padded(typeSize);
  const space = padded(spaceSize);
  return {
    name,
    datatype: readDatatype(type),
    shape: readDataspace(space, sizes.length),
    data: new Cursor(body.take(body.left), body.at + body.position),
  };
}

/** IV.A.2.v: attributes in a fractal heap, which only `libver='latest'` writes. */
function assertCompact(body: Cursor, sizes: Sizes, path: string): void {
  body.skip(1);
  const flags = body.uint(1);
  if (flags & 1) body.skip(2);
  const heap = body.uint(sizes.address);
  if (Number.isSafeInteger(heap)) throw unsupported(`attributes of ${path} in a fractal heap; save the model with h5py's default libver`);
}
