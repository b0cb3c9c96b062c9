/* page.c - GET /: a plain page that shows the state of the loops. It holds no data of its own: its
 * script asks the other endpoints, with the token that the reader gives it. */
#include "server/internal.h"

static const char page[] =
    "<!doctype html>\n"
    "<html lang=\"en\"><head><meta charset=\"utf-8\"><title>tightloop</title>\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<link rel=\"icon\" href=\"data:,\"></head>\n"
    "<body><h1>tightloop</h1>\n"
    "<p id=\"note\">Loading.</p>\n"
    "<form id=\"form\" hidden><label>Token <input id=\"token\" type=\"password\" "
    "autocomplete=\"off\"></label> <button>Use</button></form>\n"
    "<table border=\"1\" cellpadding=\"4\"><thead><tr><th>Loop</th><th>Version</th>"
    "<th>Predictions</th><th>Flagged</th><th>Labels</th><th>Precision</th><th>Recall</th>"
    "<th>Label to served, p99</th><th>Learning</th></tr></thead><tbody id=\"rows\"></tbody>"
    "</table>\n"
    "<p>Shares are given with their 95 % interval and the number of labels behind them. "
    "<a href=\"/metrics\">Metrics</a></p>\n"
    "<script src=\"/page.js\"></script></body></html>\n";

static const char script[] =
    "'use strict';\n"
    "const at = id => document.getElementById(id);\n"
    "let token = '';\n"
    "async function ask(path, method) {\n"
    "  const headers = token ? {Authorization: 'Bearer ' + token} : {};\n"
    "  const answer = await fetch(path, {method: method || 'GET', headers});\n"
    "  const body = await answer.json();\n"
    "  at('form').hidden = answer.status !== 401;\n"
    "  if (!answer.ok) throw new Error(body.error);\n"
    "  return body;\n"
    "}\n"
    "const percent = x => (100 * x).toFixed(1);\n"
    "const share = s => s.count === 0 ? 'no labels yet' : percent(s.value) + ' % (' +\n"
    "  percent(s.low) + '\\u2013' + percent(s.high) + ', ' + s.count + ')';\n"
    "function row(s) {\n"
    "  const tr = document.createElement('tr');\n"
    "  const cells = [s.name, s.champion, s.predictions, s.flagged, s.labels, share(s.precision),\n"
    "    share(s.recall), s.label_to_served_ms_p99.toFixed(1) + ' ms',\n"
    "    !s.learning ? 'paused' : s.cold ? 'cold' : 'on'];\n"
    "  for (const text of cells) {\n"
    "    const td = document.createElement('td');\n"
    "    td.textContent = text;\n"
    "    tr.append(td);\n"
    "  }\n"
    "  return tr;\n"
    "}\n"
    "async function show() {\n"
    "  try {\n"
    "    const loops = await ask('/v2/repository/index', 'POST');\n"
    "    const rows = [];\n"
    "    for (const loop of loops)\n"
    "      rows.push(row(await ask('/v2/models/' + encodeURIComponent(loop.name) + '/loop')));\n"
    "    at('rows').replaceChildren(...rows);\n"
    "    at('note').textContent = 'As of ' + new Date().toLocaleTimeString() + '.';\n"
    "  } catch (error) {\n"
    "    at('note').textContent = error.message;\n"
    "  }\n"
    "}\n"
    "at('form').addEventListener('submit', event => {\n"
    "  event.preventDefault();\n"
    "  token = at('token').value.trim();\n"
    "  show();\n"
    "});\n"
    "show();\n"
    "setInterval(show, 2000);\n";

tl_status tl_page_handle(tl_request *request, tl_error *err)
{
    (void)err;
    request->static_body = page;
    request->content_type = "text/html; charset=utf-8";
    request->content_policy = "default-src 'none'; script-src 'self'; connect-src 'self'; "
                              "img-src data:; base-uri 'none'; form-action 'none'; "
                              "frame-ancestors 'none'";
    return TL_OK;
}

tl_status tl_page_script_handle(tl_request *request, tl_error *err)
{
    (void)err;
    request->static_body = script;
    request->content_type = "text/javascript; charset=utf-8";
    return TL_OK;
}
