"""perl: hashes, strings, sorting, regular expressions, closures and a child process."""

from support import check, test

SCRIPT = r"""
use strict; use warnings;
use Digest::MD5 'md5_hex'; use List::Util qw(sum shuffle); use Storable qw(freeze thaw dclone);
my $rounds = shift;
my $seed = 42;
sub random { $seed = ($seed * 1103515245 + 12345) & 0x7fffffff; return $seed % $_[0] }
my %words;
for my $i (1 .. $rounds) {
    my $word = join '', map { chr(97 + random(26)) } 1 .. 1 + random(9);
    push @{$words{$word}{at}}, $i;
    $words{$word}{text} .= "$word-$i,";
}
my @by = sort { @{$words{$b}{at}} <=> @{$words{$a}{at}} || $a cmp $b } keys %words;
print scalar(@by), " words, most: @by[0 .. 20]\n";
print "texts ", md5_hex(join '', map { $words{$_}{text} } @by), "\n";
delete @words{@by[grep { $_ % 3 } 0 .. $#by]};
print scalar(keys %words), " are left\n";
my $text = join ' ', map { "$_=" . length $words{$_}{text} } sort keys %words;
(my $changed = $text) =~ s/([aeiou]+\w)=(\d+)/\U$1\E<$2>/g;
my %count; $count{$_}++ for $changed =~ /[A-Z]+/g;
my @often = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
print join(',', map { "$_:$count{$_}" } @often[0 .. 20]), "\n";
print md5_hex($changed), "\n";
my @subs = map { my $n = $_; sub { $n * $_[0] } } 1 .. 5000;
print sum(map { $_->(3) } @subs), "\n";
my $copy = thaw(freeze(dclone(\%words)));
print md5_hex(join ';', map { "$_@{$copy->{$_}{at}}" } sort keys %$copy), "\n";
my $long = ''; $long .= chr(65 + $_ % 26) x ($_ % 50) for 1 .. $rounds;
print length $long, ' ', md5_hex(scalar reverse $long), ' ', md5_hex(join '|', split /Q+/, $long), "\n";
my @numbers = sort { $a <=> $b } map { random(1e9) } 1 .. $rounds;
print "$numbers[0] $numbers[-1] ", md5_hex("@numbers"), "\n";
open my $child, '-|' or do { print md5_hex(join '', sort { $b cmp $a } keys %words), "\n"; exit };
print <$child>;
close $child or die "the child: $?";
"""


@test(timeout=120, needs=["perl"])
def perl(case):
    script = case.write("script.pl", SCRIPT)
    argv = [case.program("perl"), script, str(case.size(150_000, 600_000))]
    output = case.run_both(argv, env={"PERL_HASH_SEED": "0"})
    check(output.count("\n") == 10, "perl: lines are missing", output)
