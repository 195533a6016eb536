/** @file The style sheet of report pages. Colours are the theme's variables; type is the reader's own, nothing is loaded. */
export const PAGE_STYLE = `
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1100px;margin:0 auto;padding:56px 24px 80px}
h1,h2,h3{font-weight:650;letter-spacing:-.01em;line-height:1.2;margin:0;text-wrap:balance}
h1{font-size:38px;letter-spacing:-.02em}
h2{font-size:24px}
h3{font-size:15px;margin-bottom:8px}
p{margin:0}
.kind{color:var(--muted);font-size:13px;letter-spacing:.08em;text-transform:uppercase;margin-bottom:8px}
.summary{font-size:20px;line-height:1.5;max-width:44em;margin-top:16px;text-wrap:pretty}
.lead{color:var(--muted);max-width:46em;margin-top:6px;text-wrap:pretty}
.note{color:var(--muted);font-size:14px;margin-top:10px}
section{margin-top:64px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(155px,1fr));gap:1px;margin:36px 0 0;background:var(--line);border:1px solid var(--line);border-radius:10px;overflow:hidden}
.tiles div{background:var(--surface);padding:18px 20px}
.tiles dt{color:var(--muted);font-size:13px}
.tiles dd{margin:0}
.tiles .value{font-size:30px;font-weight:650;letter-spacing:-.02em;line-height:1.3;font-variant-numeric:tabular-nums}
.tiles .unit{font-size:15px;font-weight:400;letter-spacing:0;color:var(--muted)}
.tiles .beside{color:var(--muted);font-size:13px}
figure{margin:0}
.chart{margin-top:24px;padding:18px 20px;background:var(--surface);border:1px solid var(--line);border-radius:10px;min-width:0}
.chart figcaption{color:var(--muted);font-size:14px;margin-top:10px;max-width:52em}
.scroll{overflow-x:auto}
.chart svg{display:block;max-width:100%;height:auto}
.chart .scroll>svg{min-width:min(100%,300px)}
svg text{white-space:pre}
.grid{display:grid;gap:20px;margin-top:24px;grid-template-columns:repeat(auto-fill,minmax(min(100%,300px),1fr))}
.grid.halves{grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr))}
.grid .chart{margin-top:0}
.scale{display:flex;flex-wrap:wrap;align-items:center;gap:4px 10px;color:var(--muted);font-size:13px;margin-top:16px}
.scale span{display:inline-flex}
.scale i{width:26px;height:12px}
.scale i:first-child{border-radius:3px 0 0 3px}
.scale i:last-child{border-radius:0 3px 3px 0}
.key{display:inline-block;width:11px;height:11px;border-radius:2px;vertical-align:-1px;margin-right:6px}
.keys{color:var(--muted);font-size:14px;margin-top:16px;display:flex;flex-wrap:wrap;gap:6px 24px}
.film{display:flex;gap:16px;overflow-x:auto;margin-top:20px;padding-bottom:10px;scroll-snap-type:x proximity}
.frame{flex:0 0 300px;scroll-snap-align:start;background:var(--surface);border:1px solid var(--line);border-radius:10px;padding:16px 18px}
.frame figcaption{color:var(--muted);font-size:13px;font-variant-numeric:tabular-nums;margin-bottom:10px}
.frame b{color:var(--ink)}
.words{font:13px/1.6 "Iowan Old Style","Palatino Linotype",Palatino,"Book Antiqua",Georgia,serif;white-space:pre-wrap;overflow-wrap:anywhere;max-height:26em;overflow:hidden;-webkit-mask-image:linear-gradient(#000 75%,transparent);mask-image:linear-gradient(#000 75%,transparent)}
.words i{font-style:normal;color:transparent;text-shadow:0 0 7px var(--muted)}
.words mark{background:var(--fresh);color:inherit;border-radius:2px}
.words u,.text u{text-decoration:none;color:var(--given)}
.film.stage{display:grid;overflow:visible;padding:0}
.film.stage .frame{grid-area:1/1;visibility:hidden;padding:22px 26px}
.film.stage .frame.on{visibility:visible}
.film.stage .words{font-size:15.5px;line-height:1.6;max-height:none;columns:2;column-gap:44px;-webkit-mask-image:none;mask-image:none}
.controls{display:flex;align-items:center;gap:16px;margin-top:20px}
.controls button{font:inherit;font-size:14px;width:84px;padding:6px 0;border-radius:7px;border:1px solid var(--line);background:var(--surface);color:var(--ink);cursor:pointer}
.controls button:hover{border-color:var(--faint)}
.controls input{flex:1;accent-color:var(--train)}
.text{margin-top:24px;background:var(--surface);border:1px solid var(--line);border-radius:10px;padding:40px clamp(20px,8vw,120px);font:18px/1.65 "Iowan Old Style","Palatino Linotype",Palatino,"Book Antiqua",Georgia,serif;white-space:pre-wrap;overflow-wrap:break-word;hanging-punctuation:first}
.text>div{max-width:36em;margin:0 auto}
.text summary{font:15px/1.5 system-ui,sans-serif;color:var(--muted);cursor:pointer;margin-top:16px}
table{border-collapse:collapse;margin-top:20px;font-size:15px;font-variant-numeric:tabular-nums;width:100%}
th,td{text-align:left;padding:9px 24px 9px 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
th{font-weight:400;white-space:nowrap}
.figures th{white-space:normal}.figures th,.figures td{overflow-wrap:normal}
.facts th{width:14em;color:var(--muted)}
thead th{font-size:13px;color:var(--muted)}
td.number,th.number{text-align:right}
.commands{list-style:none;margin:20px 0 0;padding:0;display:grid;gap:12px}
.commands li{background:var(--surface);border:1px solid var(--line);border-radius:10px;padding:14px 18px}
.commands p{color:var(--muted);font-size:14px;margin-bottom:4px}
code{font:14px/1.5 ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.terms{margin:20px 0 0;display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,300px),1fr));gap:22px 40px}
.terms dt{font-weight:650;font-size:15px}
.terms dd{margin:3px 0 0;color:var(--muted);font-size:15px}
@media (max-width:720px){main{padding:32px 16px 56px}h1{font-size:29px}.summary{font-size:18px}section{margin-top:48px}.chart{padding:14px}.chart .wide>svg{min-width:620px}.film.stage .words{columns:1}th{white-space:normal}}
@media print{body{background:#fff}.controls{display:none}.chart,.frame,.commands li{break-inside:avoid}}
`;
