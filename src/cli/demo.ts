import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import type { ServableStore } from '../server/index.ts';
import { runCommand } from './command.ts';
import { parsePort } from './parse-option.ts';
import { namePortFlag } from './port-flag.ts';
import { classifyPhoto, type PhotoAnswer, printAnswer } from './predict.ts';

interface DemoFlags {
  readonly httpPort: number;
  readonly grpcPort: number;
  readonly models: string;
  readonly model?: string;
  readonly once?: boolean;
  readonly json?: boolean;
}

const site = new URL('../demo/', import.meta.url);
const builtInModels = fileURLToPath(new URL('../../models', import.meta.url));

/** What the page may load: itself, WebAssembly, and pictures that visitors bring. */
const contentSecurityPolicy = [
  "default-src 'self'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "img-src 'self' blob: data:",
  "media-src 'self' blob:",
  "object-src 'none'",
  "base-uri 'none'",
  "require-trusted-types-for 'script'",
  'trusted-types nearfar-demo',
].join('; ');

export function addDemo(program: Command): void {
  program
    .command('demo')
    .description('serve the built-in model with the demo page, and print one real prediction')
    .option('--http-port <port>', 'page and REST; 0 takes any free port', parsePort, 8501)
    .option('--grpc-port <port>', 'gRPC; 0 takes any free port', parsePort, 8500)
    .option('--models <folder>', 'a model repository', builtInModels)
    .option('--model <name>', 'the model that predicts (default: the first that classifies pictures)')
    .option('--once', 'stop after the prediction')
    .option('--json', 'print the addresses and the prediction as JSON')
    .action((flags: DemoFlags) =>
      runCommand(
        flags,
        ({ signal }) => runDemo(flags, signal),
        (report) => printDemo(report, flags),
      ),
    );
}

interface DemoReport {
  readonly rest: string;
  readonly grpc: string;
  readonly photo: string;
  /** Absent where no model classifies pictures. */
  readonly answer?: PhotoAnswer | undefined;
}

async function runDemo({ httpPort, grpcPort, models, model, once = false }: DemoFlags, signal: AbortSignal): Promise<DemoReport> {
  const { startServer } = await import('../server/index.ts');
  const server = await startServer({
    host: '127.0.0.1',
    restPort: httpPort,
    grpcPort,
    modelsRoot: models,
    site: { root: fileURLToPath(site), elsewhere: findRuntime, headers: { 'content-security-policy': contentSecurityPolicy } },
    logLevel: 'warn',
  }).catch(namePortFlag({ rest: '--http-port', grpc: '--grpc-port' }));
  try {
    await server.whenReady({ signal });
    const photo = 'samples/ship.png';
    const picture = new Uint8Array(await readFile(new URL(photo, site)));
    const rest = server.restAddress ?? '';
    const name = model ?? findClassifier(server.servables);
    const answer = name === undefined ? undefined : await classifyPhoto(rest, encodeURIComponent(name), picture, { topK: 3, signal });
    if (!once) keepServing(server.close);
    else await server.close();
    return { rest, grpc: server.grpcAddress ?? '', photo, answer };
  } catch (error) {
    await server.close();
    throw error;
  }
}

/** ONNX Runtime's WebAssembly, 56 MB: the package leaves it where its dependency has the very files that the page was built from. */
function findRuntime(path: string): string | undefined {
  const [, name] = /^assets\/(ort-wasm-simd-threaded(?:\.(?:asyncify|jspi))?)-[\w-]{8}\.wasm$/.exec(path) ?? [];
  return name === undefined ? undefined : fileURLToPath(import.meta.resolve(`onnxruntime-web/${name}.wasm`));
}

function findClassifier(servables: ServableStore): string | undefined {
  return servables.names().find((name) => {
    using handle = servables.lend({ name });
    return handle.manifest.tasks?.['image-classification'] !== undefined;
  });
}

/** The open sockets keep the process alive; the first signal drains, and the process ends by itself when all is closed. */
function keepServing(close: () => Promise<void>): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void close());
}

function printDemo({ rest, grpc, photo, answer }: DemoReport, { once = false }: DemoFlags): string {
  return [
    `  page and REST  ${rest}`,
    `  gRPC           ${grpc}`,
    '',
    ...(answer
      ? [`  the server says of ${photo}:`, printAnswer(answer)]
      : ['  no model here classifies pictures: there is no prediction to show']),
    ...(once ? [] : ['', '  Ctrl+C stops.']),
  ].join('\n');
}
