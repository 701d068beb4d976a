import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

// Formats are told by content. The first bytes of a file are enough: what is cut off is not looked at.

/** Bytes that are enough to recognise a file. */
const ENOUGH = 64 * 2 ** 10;

/** Whether bytes, or the first of them, look like a saved_model.pb or its text form. */
export function isSavedModel(bytes: Uint8Array): boolean {
  const head = bytes.subarray(0, ENOUGH);
  if (isText(head))
    return /^(?:\s|#[^\n]*\n)*(?:saved_model_schema_version\s*:|meta_graphs\s*:?\s*[{<])/.test(new TextDecoder().decode(head));
  // SavedModel: saved_model_schema_version = 1, meta_graphs = 2; MetaGraphDef: meta_info_def = 1, graph_def = 2.
  const graphs = fields(head).filter(({ number }) => number === 2);
  const known = fields(head).every(
    ({ number, type }) => (number === 1 && type === WireType.Varint) || (number === 2 && type === WireType.LengthDelimited),
  );
  return known && graphs.some(({ content }) => content && looksLikeMetaGraph(content));
}

/** Fields of a MetaGraphDef are 1 to 7, all messages; TensorFlow 1 and 2 write them in different orders. */
function looksLikeMetaGraph(bytes: Uint8Array): boolean {
  const found = fields(bytes);
  return found.length > 0 && found.every(({ number, type }) => number >= 1 && number <= 7 && type === WireType.LengthDelimited);
}

/** Whether bytes, or the first of them, look like a GraphDef or its text form. */
export function isGraphDef(bytes: Uint8Array): boolean {
  const head = bytes.subarray(0, ENOUGH);
  if (isText(head)) return /^(?:\s|#[^\n]*\n)*(?:node|versions|library)\s*:?\s*[{<]/.test(new TextDecoder().decode(head));
  // GraphDef: node = 1, library = 2, version = 3, versions = 4, debug_info = 5; NodeDef: name = 1, op = 2.
  const found = fields(head);
  const isKnown = found.every(({ number, type }) =>
    number === 3 ? type === WireType.Varint : number <= 5 && type === WireType.LengthDelimited,
  );
  const node = found.find(({ number }) => number === 1)?.content;
  return isKnown && node !== undefined && looksLikeNode(node);
}

function looksLikeNode(bytes: Uint8Array): boolean {
  const found = fields(bytes);
  const text = (number: number) => new TextDecoder().decode(found.find((field) => field.number === number)?.content);
  return /^[A-Za-z0-9.][A-Za-z0-9_>./-]*$/.test(text(1)) && /^[A-Za-z_][A-Za-z0-9_>.]*$/.test(text(2));
}

/** Whether the first bytes of a file are text. */
export function isText(bytes: Uint8Array): boolean {
  return bytes.length > 0 && bytes.subarray(0, 256).every((byte) => byte >= 32 || (byte >= 9 && byte <= 13));
}

interface FoundField {
  readonly number: number;
  readonly type: WireType;
  /** As far as it is there. */
  readonly content?: Uint8Array;
}

/** The fields of a message up to where it is cut off; none when it is no message. */
function fields(bytes: Uint8Array): FoundField[] {
  const reader = new BinaryReader(bytes);
  const found: FoundField[] = [];
  try {
    while (reader.pos < reader.len) {
      const [number, type] = reader.tag();
      if (type === WireType.LengthDelimited) {
        const length = reader.uint32();
        found.push({ number, type, content: bytes.subarray(reader.pos, reader.pos + length) });
        reader.pos += length;
      } else {
        reader.skip(type, number);
        found.push({ number, type });
      }
    }
  } catch {
    // A message that is cut off inside a number ends so; anything else is told by the fields before.
  }
  return found;
}
