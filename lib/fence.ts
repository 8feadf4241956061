import type { Dispatcher } from 'undici';

/**
 * Asks for a reason against each request that changes something at the moment when it is written to its connection, however long it
 * waited for one: a process may be stopped for any time between the decision and that.
 */
export function fence(refusal: () => Error | undefined): Dispatcher.DispatcherComposeInterceptor {
  return (dispatch) => (options, handler) => {
    if (options.method !== 'GET') {
      const start = handler.onRequestStart?.bind(handler);
      handler.onRequestStart = (controller, context) => {
        const error = refusal();
        if (error === undefined) start?.(controller, context);
        else controller.abort(error);
      };
    }
    return dispatch(options, handler);
  };
}
