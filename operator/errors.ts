import { CodedError, type ErrorRow } from '../lib/errors.ts';

/** Every way the operator fails; what the store answers keeps the store's code. Status 0: none of these reaches HTTP. */
export const OPERATOR_ERRORS = {
  BootstrapInvalid: { status: 0, retryable: false, help: 'The parent process handed over no valid bootstrap.' },
  ConfigInvalid: {
    status: 0,
    retryable: false,
    help: 'The configuration file (--config) cannot be read or says what is not possible; the chart writes it from its values.',
  },
  PortInUse: {
    status: 0,
    retryable: false,
    help: 'Another process listens on the port of metrics and probes; stop it or choose another port.',
  },
  LeadershipLost: {
    status: 0,
    retryable: true,
    help: 'Another operator leads, or the API server could not be reached in time; the process ends and starts anew as a standby.',
  },
  FolderMissing: {
    status: 0,
    retryable: false,
    help: 'The folder of objects does not exist; create it or name another.',
  },
  JoinRefused: { status: 0, retryable: false, help: 'The store did not take the join token; start the operator anew.' },
  StoreUnreachable: { status: 0, retryable: true, help: 'The store cannot be reached; it is tried again.' },
  IdentityLost: {
    status: 0,
    retryable: false,
    help: 'The store does not know this operator any more (it was away for too long); start the operator anew.',
  },
} as const satisfies Record<string, ErrorRow>;

export type OperatorErrorCode = keyof typeof OPERATOR_ERRORS;

/** An error of the operator; without a message the help of its code says it. */
export function operatorError(
  code: OperatorErrorCode,
  message?: string,
  options?: ErrorOptions,
): CodedError<OperatorErrorCode> {
  return new CodedError(code, message ?? OPERATOR_ERRORS[code].help, options);
}
