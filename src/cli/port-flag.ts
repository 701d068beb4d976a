import { NearfarError } from '../core/index.ts';

/** Adds to the error of a port that cannot be had which flag names another one. */
export function namePortFlag(flags: Readonly<Record<'rest' | 'grpc', string>>): (error: unknown) => never {
  return (error) => {
    const transport = error instanceof NearfarError ? error.details['transport'] : undefined;
    if (!(error instanceof NearfarError) || (transport !== 'rest' && transport !== 'grpc')) throw error;
    throw new NearfarError(error.code, `${error.message}; ${flags[transport]} takes another port`, {
      cause: error,
      details: error.details,
    });
  };
}
