import { type AnyTensor, createTensor, type DType, elementCount, type TensorMap } from '../tensor/index.ts';
import { scanNumbers } from './json-numbers.ts';
import { dtypeOfInferenceDatatype } from './wire-dtypes.ts';

// Small requests in the JSON that clients send every day, read straight from the bytes: a document with its values costs more than all
// else in them. What is not quite usual is left to the general readers, which also know what is wrong with it.

/** A longer body has lists that its general reader takes in one piece. */
const mostBytes = 4096;

/** Memory for the numbers of one list; they are copied out before the next is read. */
const store = { values: new Float64Array(mostBytes / 2), count: 0 };

const [quote, comma, colon, backslash] = [0x22, 0x2c, 0x3a, 0x5c];
const [openList, closeList, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d];

class Scanner {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Goes past one character, if it comes next. */
  skip(character: number): boolean {
    const bytes = this.#bytes;
    let c = bytes[this.#at];
    while (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09) c = bytes[++this.#at];
    if (c !== character) return false;
    this.#at++;
    return true;
  }

  /** Plain ASCII. */
  text(): string | undefined {
    if (!this.skip(quote)) return undefined;
    let text = '';
    for (;;) {
      const c = this.#bytes[this.#at++];
      if (c === quote) return text;
      if (c === undefined || c < 0x20 || c > 0x7e || c === backslash) return undefined;
      text += String.fromCharCode(c);
    }
  }

  /** The name of a member, with what separates it from its value. */
  name(): string | undefined {
    const name = this.text();
    return name !== undefined && this.skip(colon) ? name : undefined;
  }

  /** Goes on to the next member or element, or past the end. @returns Whether there is one more; undefined where neither comes. */
  hasMore(end: number): boolean | undefined {
    if (this.skip(comma)) return true;
    return this.skip(end) ? false : undefined;
  }

  /** A nested list of numbers; its values lie in the store until the next is read. */
  numbers(): { readonly shape: readonly number[]; readonly values: Float64Array; readonly areIntegers: boolean } | undefined {
    if (!this.skip(openList)) return undefined;
    store.count = 0;
    const found = scanNumbers(this.#bytes, this.#at - 1, store);
    if (!found) return undefined;
    this.#at = found.end;
    return { shape: found.shape, values: store.values.subarray(0, found.count), areIntegers: found.areIntegers };
  }
}

type Numbers = NonNullable<ReturnType<Scanner['numbers']>>;

function tensorOf(dtype: DType | undefined, shape: readonly number[], { values, areIntegers }: Numbers): AnyTensor | undefined {
  switch (dtype) {
    case 'float32':
      return createTensor(dtype, shape, new Float32Array(values));
    case 'float64':
      return createTensor(dtype, shape, values.slice());
    case 'int32': {
      const data = new Int32Array(values);
      return areIntegers && data.every((value, index) => value === values[index]) ? createTensor(dtype, shape, data) : undefined;
    }
    default:
      return undefined;
  }
}

/** `{"instances": [[1, 2], …]}` or `{"inputs": …}` of a signature with one input. */
export function readUsualPredict(
  bytes: Uint8Array,
  findInputs: () => Readonly<Record<string, { readonly dtype: DType }>>,
): { readonly format: 'row' | 'columnar'; readonly inputs: TensorMap } | undefined {
  if (bytes.length > mostBytes) return undefined;
  const scanner = new Scanner(bytes);
  if (!scanner.skip(openObject)) return undefined;
  const key = scanner.name();
  if (key !== 'instances' && key !== 'inputs') return undefined;
  const numbers = scanner.numbers();
  if (!numbers || !scanner.skip(closeObject)) return undefined;
  const inputs = findInputs();
  const names = Object.keys(inputs);
  const [name = ''] = names;
  const tensor = names.length === 1 ? tensorOf(inputs[name]?.dtype, numbers.shape, numbers) : undefined;
  return tensor && { format: key === 'instances' ? 'row' : 'columnar', inputs: { [name]: tensor } };
}

/** A request of the Open Inference Protocol without parameters: `{"id": …, "inputs": [{name, shape, datatype, data}, …], "outputs": [{name}, …]}`. */
export function readUsualInfer(
  bytes: Uint8Array,
): { readonly id: string | undefined; readonly inputs: TensorMap; readonly outputs: readonly string[] | undefined } | undefined {
  if (bytes.length > mostBytes) return undefined;
  const scanner = new Scanner(bytes);
  if (!scanner.skip(openObject)) return undefined;
  let id: string | undefined;
  let inputs: TensorMap | undefined;
  let outputs: readonly string[] | undefined;
  let hasMore: boolean | undefined;
  do {
    const key = scanner.name();
    // A member that is given twice is not usual either.
    if (key === 'id' && id === undefined) id = scanner.text();
    else if (key === 'inputs' && !inputs) inputs = readInputs(scanner);
    else if (key === 'outputs' && !outputs) outputs = readOutputs(scanner);
    else return undefined;
    if ((key === 'id' ? id : key === 'inputs' ? inputs : outputs) === undefined) return undefined;
    hasMore = scanner.hasMore(closeObject);
  } while (hasMore);
  return hasMore === false && inputs ? { id, inputs, outputs } : undefined;
}

function readInputs(scanner: Scanner): TensorMap | undefined {
  if (!scanner.skip(openList)) return undefined;
  const inputs: Record<string, AnyTensor> = {};
  let hasMore: boolean | undefined;
  do {
    if (!scanner.skip(openObject)) return undefined;
    let name: string | undefined;
    let datatype: string | undefined;
    let shape: readonly number[] | undefined;
    let tensor: AnyTensor | undefined;
    do {
      const key = scanner.name();
      if (key === 'name' && name === undefined) name = scanner.text();
      else if (key === 'datatype' && datatype === undefined) datatype = scanner.text();
      else if (key === 'shape' && !shape) shape = readShape(scanner.numbers());
      // Last, as clients write it: its numbers lie in the store.
      else if (key === 'data' && !tensor && datatype !== undefined && shape) tensor = readData(scanner.numbers(), datatype, shape);
      else return undefined;
      hasMore = scanner.hasMore(closeObject);
    } while (hasMore);
    if (hasMore === undefined || name === undefined || !tensor || name === '__proto__' || Object.hasOwn(inputs, name)) return undefined;
    inputs[name] = tensor;
    hasMore = scanner.hasMore(closeList);
  } while (hasMore);
  return hasMore === false ? inputs : undefined;
}

function readShape(numbers: Numbers | undefined): readonly number[] | undefined {
  if (numbers?.shape.length !== 1 || !numbers.areIntegers) return undefined;
  const shape = [...numbers.values];
  return shape.every((size) => size >= 0) ? shape : undefined;
}

function readData(numbers: Numbers | undefined, datatype: string, shape: readonly number[]): AnyTensor | undefined {
  if (numbers?.values.length !== elementCount(shape)) return undefined;
  return tensorOf(dtypeOfInferenceDatatype(datatype), shape, numbers);
}

function readOutputs(scanner: Scanner): readonly string[] | undefined {
  if (!scanner.skip(openList)) return undefined;
  const outputs: string[] = [];
  let hasMore: boolean | undefined;
  do {
    if (!scanner.skip(openObject) || scanner.name() !== 'name') return undefined;
    const name = scanner.text();
    if (name === undefined || !scanner.skip(closeObject)) return undefined;
    outputs.push(name);
    hasMore = scanner.hasMore(closeList);
  } while (hasMore);
  return hasMore === false ? outputs : undefined;
}
