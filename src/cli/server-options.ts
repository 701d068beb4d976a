import type { Command } from 'commander';

/** Of every command that asks a running server. */
export interface ServerFlags {
  readonly url: string;
  readonly json?: boolean;
}

export function addServerOptions(command: Command): Command {
  return command
    .option('--url <url>', 'HTTP address of the server, or its --admin_address', 'http://localhost:8501')
    .option('--json', 'print the result as JSON');
}
