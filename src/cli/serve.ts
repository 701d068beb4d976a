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
  readonly stoppedBy: string;
}

const examples = `
Flags are those of tensorflow_model_server, written --name=value or --name value, and our own:
  --models DIR                      serve every model in this folder
  --model_name NAME --model_base_path DIR
                                    serve one model
  --rest_api_port PORT              HTTP (8501; 0 is off)
  --port PORT                       gRPC (8500; 0 is off)
  --host ADDRESS                    address to listen on (0.0.0.0)
  --backend NAME[,NAME…]            auto, or backends in the order to try: onnx-cpu, tfjs-wasm, tfjs-webgpu, onnx-webgpu, …
  --allow_software_adapter          take a GPU adapter that is made of software
  --cors_allowed_origins ORIGIN[,…] pages that may ask for predictions; * is any
  --cache_dir DIR                   where imported TensorFlow Serving versions are kept
  --trust KEY.pem[,KEY.pem]         serve only versions signed by one of these public keys
  --max_inflight N                  requests taken before more are refused as overloaded (512)
  --max_inflight_per_client N       of one client, before more are refused as rate-limited (no limit)
  --rate_limit_per_client N         requests a second of one client (no limit)
  --result_cache_bytes N            answers kept in memory and given again to equal requests (0, none)
  --result_cache_redis URL          answers kept in Redis: redis://host:port/database
  --result_cache_ttl_ms N           how long (3600000)
  --input_cache_bytes N             decoded pictures kept in memory (0, none)
  --shutdown_grace_period_seconds N how long running requests may take after SIGTERM (20)
  --log_level LEVEL                 fatal, error, warn, info, debug, trace, silent (info)
  --access_log                      a line for each request, without what it carries
  --otlp_endpoint URL               traces to this OpenTelemetry collector, by OTLP over HTTP
  --trace_sampling_ratio N          share of the requests that begin a trace, 0 to 1 (1)
  --request_log_dir DIR             where requests are written that a model's logging_config samples
Environment: MODEL_NAME, MODEL_BASE_PATH (folder of all models), PORT (HTTP), GRPC_PORT.

Example: nearfar serve --models ./models`;

export function addServe(program: Command): void {
  program
    .command('serve')
    .description('serve models over REST and gRPC, with the flags of tensorflow_model_server')
    .usage('[flags]')
    .version(packageVersion())
    .option('--json', 'print the addresses and the end as JSON')
    // The server reads its own flags, and names those it does not know.
    .allowUnknownOption()
    .allowExcessArguments()
    .addHelpText('after', examples)
    .action((options: { readonly json?: boolean }, command: Command) =>
      runCommand(
        options,
        (context) => serve(context, command.args),
        ({ stoppedBy }) => `stopped: ${stoppedBy}`,
      ),
    );
}

async function serve({ json, signal }: CommandContext, argv: readonly string[]): Promise<ServeReport> {
  const { parseConfig, startServer } = await importServer();
  const { config, warnings } = parseConfig(argv, process.env);
  for (const warning of warnings) process.stderr.write(`nearfar: ${warning}\n`);
  await using server = await startServer(config).catch(namePortFlag({ rest: '--rest_api_port', grpc: '--port' }));
  const { restAddress: rest, grpcAddress: grpc } = server;
  if (json) process.stdout.write(`${JSON.stringify({ rest, grpc })}\n`);
  else process.stdout.write(`REST on ${rest ?? 'no port'}, gRPC on ${grpc ?? 'no port'}\n`);
  void announceReady(server, json, signal);
  if (!signal.aborted) await once(signal, 'abort');
  await server.close();
  return { rest, grpc, stoppedBy: signal.reason instanceof Error ? signal.reason.message : String(signal.reason) };
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
