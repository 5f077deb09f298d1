# tries: sends a terminal's commands to whoever reads its output: they come through as they are
# limits: time=10s
# expect: reason=ok code=0
# expect-output: "\u001b]0;hostile\u0007\u001b[2J\u0000\r\b\u007f\u0085<script>&"
printf '\033]0;hostile\007\033[2J\000\r\b\177\302\205<script>&'
