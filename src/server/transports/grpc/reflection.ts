import {
  create,
  type DescFile,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { nestedTypes } from '@bufbuild/protobuf/reflect';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { type Server, type ServerDuplexStream, status } from '@grpc/grpc-js';
import { ServerReflection, ServerReflectionAlpha, ServerReflectionResponseSchema } from '../../../core/index.ts';
import type { OpenStreams } from './streams.ts';

const { serverReflectionInfo: method } = ServerReflection.method;

type Request = MessageShape<typeof method.input>;
type Response = MessageShape<typeof method.output>;
type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse']>;

/**
 * Server reflection, by which grpcurl and its like find out what is served.
 * @param served The services that it tells of, beside itself.
 */
export function addReflection(server: Server, served: readonly DescService[], streams: OpenStreams): void {
  const versions = [ServerReflection, ServerReflectionAlpha];
  const describe = createDescriber([...served, ...versions]);
  // The messages of the two versions are the same on the wire.
  for (const { typeName } of versions) {
    server.register(
      `/${typeName}/${method.name}`,
      (call: ServerDuplexStream<Request, Response>) => {
        streams.add(call, () => undefined);
        call.on('data', (originalRequest: Request) => {
          const messageResponse = describe(originalRequest.messageRequest);
          const answer = create(ServerReflectionResponseSchema, { validHost: originalRequest.host, originalRequest, messageResponse });
          if (call.write(answer)) return;
          // Whoever asks without reading the answers is not heard until they are read.
          call.pause();
          call.once('drain', () => call.resume());
        });
        call.on('end', () => call.end());
      },
      (message) => Buffer.from(toBinary(method.output, message)),
      (bytes) => fromBinary(method.input, bytes),
      'bidi',
    );
  }
}

function createDescriber(services: readonly DescService[]): (request: Request['messageRequest']) => Answer {
  const files = new Map<string, DescFile>();
  for (const { file } of services) for (const needed of withDependencies(file)) files.set(needed.proto.name, needed);
  const symbols = new Map<string, DescFile>();
  for (const file of files.values()) for (const symbol of symbolsOf(file)) symbols.set(symbol, file);

  const answerFile = (file: DescFile | undefined, what: string): Answer => {
    if (!file) return notFound(what);
    const fileDescriptorProto = withDependencies(file).map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
    return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
  };

  return (request) => {
    switch (request.case) {
      case 'listServices':
        return { case: 'listServicesResponse', value: { service: services.map(({ typeName }) => ({ name: typeName })) } };
      case 'fileByFilename':
        return answerFile(files.get(request.value), `file ${request.value}`);
      case 'fileContainingSymbol':
        return answerFile(symbols.get(request.value), `symbol ${request.value}`);
      case 'fileContainingExtension':
        return notFound(`extension ${request.value.extensionNumber} of ${request.value.containingType}`);
      case 'allExtensionNumbersOfType':
        if (!symbols.has(request.value)) return notFound(`message ${request.value}`);
        return { case: 'allExtensionNumbersResponse', value: { baseTypeName: request.value, extensionNumber: [] } };
      default:
        return { case: 'errorResponse', value: { errorCode: status.INVALID_ARGUMENT, errorMessage: 'the request asks for nothing' } };
    }
  };
}

/** A file and all that it imports, each once and in front of what it imports itself. */
function withDependencies(file: DescFile): readonly DescFile[] {
  const found = new Set<DescFile>();
  const visit = (next: DescFile): void => {
    for (const dependency of next.dependencies) if (!found.has(dependency)) visit(dependency);
    found.add(next);
  };
  visit(file);
  return [...found].reverse();
}

function* symbolsOf(file: DescFile): Generator<string> {
  for (const type of nestedTypes(file)) {
    yield type.typeName;
    if (type.kind === 'service') for (const { name } of type.methods) yield `${type.typeName}.${name}`;
    if (type.kind === 'message') for (const { name } of type.fields) yield `${type.typeName}.${name}`;
  }
}

function notFound(what: string): Answer {
  return { case: 'errorResponse', value: { errorCode: status.NOT_FOUND, errorMessage: `${what} is not known` } };
}
