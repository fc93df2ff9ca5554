"""Command lines and scripts of shells, by what they do: fetch and run, let in, persist, destroy, hide."""

# ruff: noqa: E501  tables of names and patterns, one a line

import re

__all__ = ["harm_in_commands", "is_harmless_command"]

_LONGEST = 256 << 10
_HARMS = tuple(
    (re.compile(pattern, re.IGNORECASE), what)
    for pattern, what in (
        (r"\b(?:curl|wget|fetch|iwr|invoke-webrequest)\b[^\n|;&]{0,500}\|\s*(?:sudo\s+)?(?:\w+=\S+\s+)?(?:/\S+/)?(?:ba|z|da|k|c)?sh\b", "pipes a download into a shell"),
        (r"\b(?:curl|wget)\b[^\n|]{0,500}\|\s*(?:sudo\s+)?(?:python|perl|ruby|node|php)", "pipes a download into an interpreter"),
        (r"\b(?:ba|z|da|k)?sh\s+(?:-\w+\s+)?[\"']?(?:<\(|\$\(|`)\s*(?:curl|wget)\b", "runs a download"),
        (r"\|\s*(?:sudo\s+(?:-\w+\s+)*)?(?:/\S+/)?(?:ba|z|da|k|c)?sh\b(?!\w*[./])", "runs what a command prints"),
        (r"\b(?:pip3?|uv\s+pip)\s+(?:-\S+\s+){0,8}install\b[^\n]{0,300}(?:(?:--(?:extra-)?index-url|-i|--find-links|-f)[ =]+(?!https://(?:pypi\.org|download\.pytorch\.org|pypi\.nvidia\.com|data\.pyg\.org))|--trusted-host|\shttp://|\bgit\+(?!(?:https|ssh)://(?:git@)?(?:github|gitlab|bitbucket|huggingface|codeberg)\.))", "installs from elsewhere than the package index"),
        (r"\bcurl\b[^\n]{0,300}\|\s*tar\b[^\n]{0,200}(?:&&|;|\n)\s*(?:cd\b[^\n]{0,80}(?:&&|;)\s*)?\./", "downloads, then runs"),
        (r"\beval\s+[\"']?(?:\$\(|`)", "evaluates what a command prints"),
        (r"\b(?:curl|wget)\b[^\n]{0,500}(?:&&|;|\n)[^\n]{0,200}(?:chmod\s+(?:\+x|[0-7]*7)|(?:ba)?sh\s+\S|python3?\s+/)", "downloads, then runs"),
        (r"/dev/(?:tcp|udp)/", "opens a shell to the network"),
        (r"\b(?:nc|ncat|netcat)\b[^\n]{0,200}\s-\w*[ec]\b", "opens a shell to the network"),
        (r"\bsocat\b[^\n]{0,200}exec:", "opens a shell to the network"),
        (r"\bmkfifo\b[^\n]{0,300}\b(?:nc|ncat|netcat|telnet|openssl)\b", "opens a shell to the network"),
        (r"base64\s+(?:-d|-D|--decode)[^\n]{0,200}\|\s*(?:sudo\s+)?(?:(?:ba|z)?sh|python|perl|gunzip|zcat)", "runs what it decodes"),
        (r"\b(?:xxd\s+-r|openssl\s+enc\s+-d|rev)\b[^\n]{0,200}\|\s*(?:ba|z)?sh\b", "runs what it decodes"),
        (r"\brm\s+(?:-\w+\s+)*-\w*[rf]\w*\s+(?:--no-preserve-root\s+)?[\"']?(?:/(?:\s|$|\*|[\"'])|~|\$HOME|/(?:home|etc|usr|var|root)\b)", "deletes outside of its folder"),
        (r"\bcrontab\s+(?:-(?!l\b)|\S)|/etc/cron|/var/spool/cron", "plants a scheduled task"),
        (r">>?\s*[\"']?\S*(?:\.bashrc|\.bash_profile|\.profile|\.zshrc|authorized_keys|/etc/(?:passwd|sudoers|rc\.local|ld\.so\.preload))", "plants itself where a login runs it"),
        (r"\bsystemctl\s+(?:--\S+\s+)?enable\b|\bschtasks\b[^\n]{0,60}/create|\breg\s+add\b[^\n]{0,200}\\run\b|\blaunchctl\s+load\b", "plants itself where a start runs it"),
        (r"(?:\.ssh/id_|\.aws/credentials|/etc/shadow|\.netrc|\.git-credentials|\.kube/config)", "reaches for credentials"),
        (r"\b(?:env|printenv|set)\b\s*\|[^\n]{0,100}\b(?:curl|wget|nc|base64)\b", "sends the environment out"),
        (r"\bcurl\b[^\n]{0,300}(?:-d|--data\S*|-F|--form|-T)\s*[\"']?\S*(?:@/|\$\(|`)", "sends files or output out"),
        (r"\bpowershell\b[^\n]{0,200}\s-e(?:nc|ncodedcommand|c)?\b|frombase64string|\biex\b|invoke-expression|downloadstring|downloadfile|-windowstyle\s+hidden|-executionpolicy\s+bypass", "runs hidden or downloaded PowerShell"),
        (r"\b(?:certutil\b[^\n]{0,100}-urlcache|bitsadmin\b[^\n]{0,100}/transfer|mshta\s|regsvr32\b[^\n]{0,100}/i:|rundll32\b[^\n]{0,100}javascript)", "abuses a system tool to fetch and run"),
        (r":\(\)\s*\{\s*:\|:&\s*\}", "a fork bomb"),
        (r"\b(?:xmrig|minerd|stratum\+tcp)\b", "mines"),
        (r"\bdd\s+if=\S+\s+of=/dev/(?:sd|nvme|hd)|\bmkfs\.\w+\s+/dev/", "overwrites a disk"),
        (r"\bLD_PRELOAD=", "loads a library into what runs"),
        (r"\b(?:new\s+ActiveXObject|WScript\.Shell|child_process|require\([\"']child_process)", "starts programs from a script"),
        (r"\bsh\s+-i\b|\bbash\s+-i\b[^\n]{0,50}[<>&]", "opens an interactive shell"),
        (r"\bchattr\s+\+i\b|\bhistory\s+-c\b|\bunset\s+HISTFILE\b", "hides its traces"),
        (r"(?:python3?|perl|ruby|php|node)\s+-[ecr]\s*[\"'][^\n]{0,400}(?:socket|exec|eval|system|b64decode|urlopen|spawn)", "runs code from its command line"),
    )
)  # fmt: skip
_HARMLESS = re.compile(
    r"\s*(?:git|nvidia-smi|rocm-smi|pip3?|python3?\s+-m\s+(?:pip|torch)|ninja|nvcc|gcc|g\+\+|cmake|make|ls|ffmpeg|ffprobe|hostname|uname|lscpu|which"
    r"|nproc|free|df|conda|apt(?:-get)?\s+(?:-\S+\s+)?install|huggingface-cli|hf|git-lfs|clear|cls)\b[^;&|`$<>\n]*\Z"
)


def harm_in_commands(text: str) -> str | None:
    """What the first harmful command does, or None."""
    text = text[:_LONGEST].replace("\\\n", " ").replace("^\n", " ")
    plain = re.sub(r"(?<=\w)(?:''|\"\"|\\|\$@|\^)(?=\w)", "", text)  # c''url, c\url, p^owershell
    for pattern, what in _HARMS:
        if pattern.search(text) or (plain != text and pattern.search(plain)):
            return what
    return None


def is_harmless_command(command: str) -> bool:
    """One plain command of a tool that training and serving code ordinarily asks."""
    return bool(_HARMLESS.match(command)) and harm_in_commands(command) is None
