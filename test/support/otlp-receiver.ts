import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/** One span as a collector gets it. */
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  /** 1 internal, 2 server. */
  readonly kind: number;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly attributes: Readonly<Record<string, string | number>>;
  /** 0 unset, 2 error. */
  readonly status: number;
  readonly resource: Readonly<Record<string, string | number>>;
}

export interface OtlpReceiver extends AsyncDisposable {
  /** The base URL, as an exporter is told it. */
  readonly endpoint: string;
  readonly spans: readonly ReceivedSpan[];
}

/** A collector that takes traces by OTLP over HTTP, in protobuf. */
export async function openOtlpReceiver({ status = 200 }: { status?: number } = {}): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    if (request.url !== '/v1/traces' || request.headers['content-type'] !== 'application/x-protobuf') {
      response.writeHead(404).end();
      return;
    }
    if (status === 200) spans.push(...readExport(new Uint8Array(Buffer.concat(chunks))));
    response.writeHead(status, { 'content-type': 'application/x-protobuf' }).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

// Field numbers of opentelemetry/proto: trace/v1/trace.proto, resource/v1/resource.proto, common/v1/common.proto.

function readExport(bytes: Uint8Array): ReceivedSpan[] {
  return messages(bytes, 1).flatMap((resourceSpans) => {
    const resource = attributesOf(messages(resourceSpans, 1)[0] ?? new Uint8Array(), 1);
    return messages(resourceSpans, 2).flatMap((scopeSpans) => messages(scopeSpans, 2).map((span) => readSpan(span, resource)));
  });
}

function readSpan(bytes: Uint8Array, resource: ReceivedSpan['resource']): ReceivedSpan {
  const fields = fieldsOf(bytes);
  const hex = (number: number) => Buffer.from((fields.get(number)?.[0] as Uint8Array | undefined) ?? []).toString('hex');
  const status = fields.get(15)?.[0] as Uint8Array | undefined;
  return {
    traceId: hex(1),
    spanId: hex(2),
    parentSpanId: hex(4),
    name: Buffer.from(fields.get(5)?.[0] as Uint8Array).toString(),
    kind: Number(fields.get(6)?.[0]),
    startNs: BigInt(fields.get(7)?.[0] as bigint),
    endNs: BigInt(fields.get(8)?.[0] as bigint),
    attributes: attributesOf(bytes, 9),
    status: Number((status && fieldsOf(status).get(3)?.[0]) ?? 0),
    resource,
  };
}

function attributesOf(bytes: Uint8Array, number: number): Record<string, string | number> {
  return Object.fromEntries(
    messages(bytes, number).map((pair) => {
      const [key, value] = [messages(pair, 1)[0], messages(pair, 2)[0]];
      const [[, [first] = []] = []] = fieldsOf(value ?? new Uint8Array());
      return [Buffer.from(key ?? []).toString(), first instanceof Uint8Array ? Buffer.from(first).toString() : Number(first)];
    }),
  );
}

function messages(bytes: Uint8Array, number: number): Uint8Array[] {
  return (fieldsOf(bytes).get(number) ?? []).filter((value) => value instanceof Uint8Array);
}

type Field = Uint8Array | bigint | number | string;

function fieldsOf(bytes: Uint8Array): Map<number, Field[]> {
  const fields = new Map<number, Field[]>();
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const value = readField(reader, type);
    fields.set(number, [...(fields.get(number) ?? []), value]);
  }
  return fields;
}

function readField(reader: BinaryReader, type: WireType): Field {
  switch (type) {
    case WireType.LengthDelimited:
      return reader.bytes();
    case WireType.Bit64:
      return reader.fixed64();
    case WireType.Bit32:
      return reader.fixed32();
    default:
      return reader.int64();
  }
}
