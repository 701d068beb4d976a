import { once } from 'node:events';
import type { Command } from 'commander';
import type { RunningServer } from '../server/index.ts';
import { type CommandContext, runCommand } from './command.ts';
import { namePortFlag } from './port-flag.ts';
import { packageVersion } from './version.ts';

/** Where a server listened, and why it stopped. */
interface ServeReport {
  readonly rest: string | undefined;
  readonly grpc: string | undefined;
  readonly socket?: string | undefined;
  readonly stoppedBy: string;
}

export function addServe(program: Command): void {
  program
    .command('serve')
    .description('serve models over REST and gRPC, with the flags of tensorflow_model_server')
    .usage('[flags]')
    .option('--json', 'print the addresses and the end as JSON')
    // Its own help lists all flags, which are read only when it is asked for.
    .helpOption(false)
    // The server reads its own flags, and names those it does not know.
    .allowUnknownOption()
    .allowExcessArguments()
    .action(async (options: { readonly json?: boolean }, command: Command) => {
      if (command.args.some((argument) => argument === '--help' || argument === '-h')) return printHelp(command);
      if (command.args.some((argument) => /^--version(=true|=1)?$/.test(argument))) return void console.log(packageVersion());
      await runCommand(
        options,
        (context) => serve(context, command.args),
        ({ stoppedBy }) => `stopped: ${stoppedBy}`,
      );
    });
}

async function printHelp(command: Command): Promise<void> {
  const { describeFlags } = await importServer();
  const flags = describeFlags();
  const row = ({ name, flag }: (typeof flags)[number]) => {
    const note = { honoured: '', accepted: 'without effect: ', refused: 'refused: ' }[flag.treatment];
    return `  --${name.padEnd(46)} ${note}${flag.help}`;
  };
  process.stdout.write(`${command.helpInformation()}
Flags are written --name=value or --name value, booleans also bare. Those of tensorflow_model_server:
${flags
  .filter(({ isOurs }) => !isOurs)
  .map(row)
  .join('\n')}

Our own:
${flags
  .filter(({ isOurs }) => isOurs)
  .map(row)
  .join('\n')}

Environment: MODEL_NAME, MODEL_BASE_PATH (folder of all models), PORT (HTTP), GRPC_PORT, NEARFAR_REDIS_URL.

Example: nearfar serve --models ./models
`);
}

async function serve({ json, signal }: CommandContext, argv: readonly string[]): Promise<ServeReport> {
  const { parseConfig, startServer } = await importServer();
  for (const stream of [process.stdout, process.stderr]) stream.on('error', ignoreClosedPipe);
  const { config, warnings } = parseConfig(argv, process.env);
  for (const warning of warnings) process.stderr.write(`nearfar: ${warning}\n`);
  await using server = await startServer(config).catch(namePortFlag({ rest: '--rest_api_port', grpc: '--port' }));
  const { restAddress: rest, grpcAddress: grpc, grpcSocketPath: socket } = server;
  if (json) process.stdout.write(`${JSON.stringify({ rest, grpc, socket })}\n`);
  else process.stdout.write(`REST on ${rest ?? 'no port'}, gRPC on ${[grpc, socket].filter(Boolean).join(' and ') || 'no port'}\n`);
  void announceReady(server, json, signal);
  const reload = () => void server.reloadModels();
  process.on('SIGHUP', reload);
  if (!signal.aborted) await once(signal, 'abort');
  process.off('SIGHUP', reload);
  await server.close();
  return { rest, grpc, socket, stoppedBy: signal.reason instanceof Error ? signal.reason.message : String(signal.reason) };
}

/** Whoever reads what the server prints may go away: it serves on. */
function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}

/** Not written in `serve` itself: in a function with `using`, which it lowers, tsc leaves the extension of an import as it is. */
function importServer() {
  return import('../server/index.ts');
}

async function announceReady(server: RunningServer, json: boolean, signal: AbortSignal): Promise<void> {
  try {
    await server.whenReady({ signal });
  } catch {
    return; // stopped before it was ready
  }
  const models = server.servables.names();
  process.stdout.write(json ? `${JSON.stringify({ ready: models })}\n` : `ready: ${models.join(', ') || 'no models yet'}\n`);
}
