import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { basicOf, bearerOf, contentTypeOf, json, LookAlike, pathOf, shortened, textOf } from './lookAlike.ts';
import type { UpstreamTls } from './tls.ts';

const CUSTOMER_PARAMETERS = /^(email|name|description|phone|metadata\[[^[\]]{1,40}\])$/;

/** A look-alike of api.stripe.com: customers and balance, with its error shapes. */
export class Stripe extends LookAlike {
  /** The one key that is taken; set another to rotate. */
  key: string;
  /** The key of the last request, right or wrong; undefined if it had none. */
  lastKey: string | undefined;

  constructor(options: { key: string; tls?: UpstreamTls | undefined }) {
    super(options);
    this.key = options.key;
  }

  protected override async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('request-id', `req_${randomBytes(7).toString('hex')}`);
    response.setHeader('stripe-version', '2026-01-28.clover');
    // Stripe takes the key as user name with an empty password, or as a bearer token.
    const pair = basicOf(request);
    this.lastKey = pair?.username ?? bearerOf(request);
    if (!this.lastKey) {
      const message =
        "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication for details, or we can help at https://support.stripe.com/.";
      return unauthorized(response, message);
    }
    if (this.lastKey !== this.key || (pair?.password ?? '') !== '') {
      return unauthorized(response, `Invalid API Key provided: ${shortened(this.lastKey)}`);
    }
    const path = pathOf(request);
    if (request.method === 'GET' && path === '/v1/balance') {
      const funds = [{ amount: 66_670, currency: 'usd', source_types: { card: 66_670 } }];
      return json(response, 200, { object: 'balance', available: funds, livemode: false, pending: [] });
    }
    if (request.method === 'POST' && path === '/v1/customers') return createCustomer(request, response);
    const message = `Unrecognized request URL (${request.method}: ${path}). Please see https://stripe.com/docs or we can help at https://support.stripe.com/.`;
    return invalid(response, 404, { message });
  }
}

async function createCustomer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const text = await textOf(request);
  if (text !== '' && contentTypeOf(request) !== 'application/x-www-form-urlencoded') {
    const message = `Invalid request (check that your POST content type is application/x-www-form-urlencoded). If you have any questions, we can help at https://support.stripe.com/.`;
    return invalid(response, 400, { message });
  }
  const parameters = new URLSearchParams(text);
  for (const param of parameters.keys()) {
    if (CUSTOMER_PARAMETERS.test(param)) continue;
    const docs = 'https://stripe.com/docs/error-codes/parameter-unknown';
    return invalid(response, 400, {
      code: 'parameter_unknown',
      doc_url: docs,
      message: `Received unknown parameter: ${param}`,
      param,
    });
  }
  const email = parameters.get('email');
  if (email !== null && !email.includes('@')) {
    return invalid(response, 400, {
      code: 'email_invalid',
      message: `Invalid email address: ${email}`,
      param: 'email',
    });
  }
  const metadata = [...parameters].flatMap(([name, value]) => {
    const key = /^metadata\[(.*)\]$/.exec(name)?.[1];
    return key === undefined ? [] : [[key, value] as const];
  });
  json(response, 200, {
    id: `cus_${randomBytes(7).toString('hex')}`,
    object: 'customer',
    created: Math.floor(Date.now() / 1000),
    email,
    name: parameters.get('name'),
    description: parameters.get('description'),
    phone: parameters.get('phone'),
    livemode: false,
    metadata: Object.fromEntries(metadata),
  });
}

function unauthorized(response: ServerResponse, message: string): void {
  json(
    response,
    401,
    { error: { message, type: 'invalid_request_error' } },
    { 'www-authenticate': 'Basic realm="Stripe"' },
  );
}

function invalid(response: ServerResponse, status: number, error: Record<string, string>): void {
  json(response, status, { error: { ...error, type: 'invalid_request_error' } });
}
