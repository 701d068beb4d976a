import { type Command, CommanderError } from 'commander';
import { NearfarError, type SerializedError, serializeError } from '../core/index.ts';

/** What every action gets beside its own arguments. */
export interface CommandContext {
  /** True with --json: the result alone goes to standard output, as one JSON object. */
  readonly json: boolean;
  /** Aborts on Ctrl+C and SIGTERM. */
  readonly signal: AbortSignal;
}

/**
 * Does the work of a command and prints its result, as text or with --json as one JSON object; nothing where it has printed it already. What it throws becomes a line on standard
 * error, or with --json `{"error":{"code","message","details"}}` on standard output, and exit status 1.
 */
export async function runCommand<Result>(
  { json = false }: { readonly json?: boolean },
  work: (context: CommandContext) => Promise<Result>,
  print: (result: Result) => string | undefined,
): Promise<void> {
  const controller = new AbortController();
  const forget = () => void process.off('SIGINT', abort).off('SIGTERM', abort);
  const abort = (signal: NodeJS.Signals) => {
    // A second one, of either kind, ends the process at once.
    forget();
    controller.abort(new NearfarError('cancelled', `stopped by ${signal}`));
  };
  process.on('SIGINT', abort).on('SIGTERM', abort);
  try {
    const result = await work({ json, signal: controller.signal });
    const text = json && result !== undefined ? JSON.stringify(result, null, 2) : print(result);
    if (text !== undefined) process.stdout.write(`${text}\n`);
  } catch (error) {
    fail(serializeError(error), json);
  } finally {
    forget();
  }
}

/** Parses the command line and runs the command it names; wrong usage ends like any other error. */
export async function runProgram(program: Command, argv: readonly string[]): Promise<void> {
  const json = argv.includes('--json');
  for (const command of withSubcommands(program)) {
    command.exitOverride().configureOutput({ ...(json && { writeErr: () => undefined }) });
  }
  try {
    await program.parseAsync(argv);
  } catch (error) {
    if (!(error instanceof CommanderError)) return fail(serializeError(error), json);
    process.exitCode = error.exitCode;
    // Commander has printed its message already where it is not JSON.
    if (json && error.exitCode !== 0) fail({ code: 'invalid-argument', message: error.message.replace(/^error: /, '') }, true);
  }
}

function withSubcommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap((inner) => withSubcommands(inner))];
}

function fail({ code, message, details }: SerializedError, json: boolean): void {
  process.exitCode = 1;
  if (json) process.stdout.write(`${JSON.stringify({ error: { code, message, details: details ?? {} } }, null, 2)}\n`);
  else process.stderr.write(`nearfar: ${message} (${code})\n`);
}
